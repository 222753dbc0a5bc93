/* The driver: kernels that the provider contains as cubins, and tensor descriptors for CUTLASS's copies. */
#include "standin.h"

#include <string.h>

/* CUresult. */
enum { SUCCESS = 0 };

int cuModuleLoadData(const void **module, const void *code) {
    *module = code;
    return SUCCESS;
}

int cuModuleUnload(const void *) {
    return SUCCESS;
}

/* A kernel's handle is its name. */
int cuModuleGetFunction(const char **function, const void *, const char *name) {
    *function = strdup(name);
    return SUCCESS;
}

int cuLaunchKernel(const char *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                   unsigned block_y, unsigned block_z, unsigned shared, cudaStream_t stream, void **, void **) {
    dim3 grid = {grid_x, grid_y, grid_z}, block = {block_x, block_y, block_z};
    return (int)standin_launch(function, grid, block, shared, stream);
}

int cuLaunchCooperativeKernel(const char *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                              unsigned block_y, unsigned block_z, unsigned shared, cudaStream_t stream, void **) {
    return cuLaunchKernel(function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, stream, NULL, NULL);
}

/* CUdevice_attribute has the same values as cudaDeviceAttr in cudart. */
int cudaDeviceGetAttribute(int *value, int attribute, int device);

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    return cudaDeviceGetAttribute(value, attribute, device);
}

int cuGetErrorName(int, const char **name) {
    *name = "CUDA_ERROR";
    return SUCCESS;
}

int cuTensorMapEncodeTiled(void *, int, unsigned, void *, const void *, const void *, const void *, const void *, int, int,
                           int, int) {
    return SUCCESS;
}
