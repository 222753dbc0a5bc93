/* The provider's queries about kernels, and kernels that it loads from libraries or the driver. */
#define _GNU_SOURCE
#include "../standin.h"

#include <dlfcn.h>
#include <string.h>

/* cudaFuncAttributes of CUDA 13. */
struct function_attributes {
    size_t shared, constant, local;
    int most_threads, registers, ptx_version, binary_version, cache_mode_ca, most_dynamic_shared;
    char rest[96];
};
_Static_assert(sizeof(struct function_attributes) == 144, "the size of cudaFuncAttributes");

cudaError_t cudaFuncGetAttributes(struct function_attributes *attributes, const void *) {
    memset(attributes, 0, sizeof *attributes);
    attributes->most_threads = 1024;
    attributes->registers = 64;
    attributes->ptx_version = 90;
    attributes->binary_version = 90;
    attributes->most_dynamic_shared = 48 << 10;
    return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void *, int, int) {
    return cudaSuccess;
}

cudaError_t cudaKernelSetAttributeForDevice(void *, int, int, int) {
    return cudaSuccess;
}

/* Two blocks, because CUTLASS fails if not even one fits. */
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *, int, size_t, unsigned) {
    *blocks = 2;
    return cudaSuccess;
}

cudaError_t cudaLibraryLoadData(const void **library, const void *code, void *, void **, unsigned, void *, void **,
                                unsigned) {
    *library = code;
    return cudaSuccess;
}

cudaError_t cudaLibraryGetKernel(const char **kernel, const void *, const char *name) {
    *kernel = strdup(name);
    return cudaSuccess;
}

cudaError_t cudaLibraryUnload(const void *) {
    return cudaSuccess;
}

/* Status 1: the driver has no such function. */
cudaError_t cudaGetDriverEntryPointByVersion(const char *name, void **function, unsigned, unsigned long long, int *status) {
    /* The provider has loaded the driver, but not into the global scope. */
    void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    *function = driver ? dlsym(driver, name) : NULL;
    if (status)
        *status = *function ? 0 : 1;
    return cudaSuccess;
}
