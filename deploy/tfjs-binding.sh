#!/bin/sh
# Builds the binding of tfjs-node or tfjs-node-gpu against the TensorFlow library of a wheel from PyPI, in place:
#   deploy/tfjs-binding.sh FOLDER_OF_THE_PACKAGE WHEEL
# The packages' own installers fetch libtensorflow 2.9 with CUDA 11; a wheel has a current one, with CUDA 12 in `tensorflow` and
# without in `tensorflow-cpu`. Its C interface is the same. Needs g++, unzip, and Node.js with its headers.
set -eu
package=$(realpath "$1")
wheel=$(realpath "$2")
headers=$(mktemp -d)
trap 'rm -rf "$headers"' EXIT

mkdir -p "$package/deps/lib" "$package/lib/napi-v8"
unzip -qoj "$wheel" 'tensorflow/libtensorflow_cc.so.2' 'tensorflow/libtensorflow_framework.so.2' -d "$package/deps/lib"
unzip -qo "$wheel" 'tensorflow/include/tensorflow/*.h' 'tensorflow/include/tsl/*.h' 'tensorflow/include/xla/tsl/*.h' -d "$headers"

cd "$package"
g++ -O2 -std=c++17 -shared -fPIC -DNAPI_VERSION=8 \
    -I"$(dirname "$(dirname "$(command -v node)")")/include/node" -I. -I.. -I"$headers/tensorflow/include" \
    binding/tfjs_binding.cc binding/tfjs_backend.cc -o lib/napi-v8/tfjs_binding.node \
    deps/lib/libtensorflow_cc.so.2 deps/lib/libtensorflow_framework.so.2 \
    '-Wl,-rpath,$ORIGIN/../../deps/lib'
