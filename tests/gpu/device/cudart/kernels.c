/* Kernels: their names, and their launches, which are checked against a card's limits and do nothing. */
#include "../standin.h"

#include <pthread.h>
#include <stdlib.h>

enum {
    BUCKETS = 1 << 14,
    CONFIGURATIONS = 8,
    MOST_THREADS = 1024,
    MOST_THREADS_Z = 64,
    MOST_BLOCKS_YZ = 65535,
    MOST_SHARED = 227 << 10,
};

struct kernel {
    const void *function;
    const char *name;
    struct kernel *next;
};

/* The kernels' host functions by address. The provider has thousands of them. */
static struct kernel *buckets[BUCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct kernel **bucket(const void *function) {
    return &buckets[((uintptr_t)function >> 4) % BUCKETS];
}

static const char *name_of(const void *function) {
    struct kernel *at = *bucket(function);
    while (at && at->function != function)
        at = at->next;
    return at ? at->name : "unknown";
}

/* The compiler's interface: nvcc inserts calls of these functions into the provider's constructors and launches. */
void **__cudaRegisterFatBinary(void *) {
    static void *handle;
    return &handle;
}

void __cudaRegisterFatBinaryEnd(void **) {
}

void __cudaUnregisterFatBinary(void **) {
}

void __cudaRegisterVar(void **, char *, char *, const char *, int, size_t, int, int) {
}

void __cudaRegisterFunction(void **, const char *function, char *, const char *name, int, void *, void *, void *, void *,
                            int *) {
    struct kernel *new = malloc(sizeof *new);
    pthread_mutex_lock(&lock);
    *new = (struct kernel){function, name, *bucket(function)};
    *bucket(function) = new;
    pthread_mutex_unlock(&lock);
}

static bool fits(dim3 grid, dim3 block, size_t shared) {
    uint64_t threads = (uint64_t)block.x * block.y * block.z;
    bool blocks = grid.x && grid.y && grid.z && grid.x <= INT32_MAX && grid.y <= MOST_BLOCKS_YZ && grid.z <= MOST_BLOCKS_YZ;
    return blocks && threads && threads <= MOST_THREADS && block.z <= MOST_THREADS_Z && shared <= MOST_SHARED;
}

cudaError_t standin_launch(const char *name, dim3 grid, dim3 block, size_t shared, cudaStream_t stream) {
    bool captured = standin_capture_launch(stream, false);
    standin_log("kernel device=%d stream=%d captured=%d grid=%u,%u,%u block=%u,%u,%u shared=%zu name=%s",
                standin_stream_device(stream), standin_stream_number(stream), captured, grid.x, grid.y, grid.z, block.x,
                block.y, block.z, shared, name);
    if (standin_stream_device(stream) != standin_device())
        return standin_error(cudaErrorInvalidResourceHandle, name);
    return fits(grid, block, shared) ? cudaSuccess : standin_error(cudaErrorInvalidConfiguration, name);
}

/* `kernel<<<grid, block, shared, stream>>>(…)` pushes the configuration, and the kernel's host function pops it. */
static _Thread_local struct configuration {
    dim3 grid, block;
    size_t shared;
    cudaStream_t stream;
} configurations[CONFIGURATIONS];
static _Thread_local int depth;

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, cudaStream_t stream) {
    if (depth == CONFIGURATIONS)
        abort();
    configurations[depth++] = (struct configuration){grid, block, shared, stream};
    return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, cudaStream_t *stream) {
    if (!depth)
        abort();
    struct configuration top = configurations[--depth];
    *grid = top.grid;
    *block = top.block;
    *shared = top.shared;
    *stream = top.stream;
    return cudaSuccess;
}

/* A kernel's handle is its name. */
cudaError_t __cudaGetKernel(const char **kernel, const void *function) {
    *kernel = name_of(function);
    return cudaSuccess;
}

cudaError_t __cudaLaunchKernel(const char *kernel, dim3 grid, dim3 block, void **, size_t shared, cudaStream_t stream) {
    return standin_launch(kernel, grid, block, shared, stream);
}

cudaError_t cudaLaunchKernel(const void *function, dim3 grid, dim3 block, void **, size_t shared, cudaStream_t stream) {
    return standin_launch(name_of(function), grid, block, shared, stream);
}

cudaError_t cudaLaunchCooperativeKernel(const void *function, dim3 grid, dim3 block, void **, size_t shared,
                                        cudaStream_t stream) {
    return standin_launch(name_of(function), grid, block, shared, stream);
}

/* cudaLaunchConfig_t. */
struct launch {
    dim3 grid, block;
    size_t shared;
    cudaStream_t stream;
    void *attributes;
    unsigned attribute_count;
};

cudaError_t cudaLaunchKernelExC(const struct launch *launch, const void *function, void **) {
    return standin_launch(name_of(function), launch->grid, launch->block, launch->shared, launch->stream);
}
