import { create, type DescFile, type DescMethod, type DescService, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type FileDescriptorProto, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';

/** Bulk reads go in chunks below this; nothing larger is a message. */
export const maxMessageBytes = 16 * 1024 * 1024;

type AnyMethod = MethodDefinition<never, never>;

/** Full path of a method on the wire. */
export const pathOf = (method: DescMethod): string => `/${method.parent.typeName}/${method.name}`;

/** grpc-js's view of a method: paths and codecs, made of the generated descriptor. */
export const methodOf = (method: DescMethod): AnyMethod => ({
  path: pathOf(method),
  requestStream: method.methodKind === 'client_streaming' || method.methodKind === 'bidi_streaming',
  responseStream: method.methodKind === 'server_streaming' || method.methodKind === 'bidi_streaming',
  requestSerialize: (message) => Buffer.from(toBinary(method.input, message as never)),
  requestDeserialize: (bytes) => fromBinary(method.input, bytes) as never,
  responseSerialize: (message) => Buffer.from(toBinary(method.output, message as never)),
  responseDeserialize: (bytes) => fromBinary(method.output, bytes) as never,
});

export const definitionOf = (service: DescService): ServiceDefinition =>
  Object.fromEntries(service.methods.map((method) => [method.name, methodOf(method)])) as unknown as ServiceDefinition;

/** Descriptors of services and all that they import, as reflection needs them. */
export const descriptorSetOf = (services: readonly DescService[]): Uint8Array => {
  const files = new Map<string, FileDescriptorProto>();
  const add = (file: DescFile) => {
    if (files.has(file.name)) return;
    for (const dependency of file.dependencies) add(dependency);
    files.set(file.name, file.proto);
  };
  for (const service of services) add(service.file);
  return toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: [...files.values()] }));
};
