/* Devices: their number, their properties, and the current device of each thread. Each looks like an H100 (sm_90).
 *
 * STANDIN_CUDA_DEVICES sets their number, STANDIN_CUDA_MEMORY the bytes of each device.
 */
#include "../standin.h"

#include <string.h>

enum {
    DEFAULT_DEVICES = 1,
    MAJOR = 9,
    MINOR = 0,
    VERSION = 13000,
    MULTIPROCESSORS = 132,
    REGISTERS = 65536,
    THREADS_PER_BLOCK = 1024,
    THREADS_PER_MULTIPROCESSOR = 2048,
    BLOCKS_PER_MULTIPROCESSOR = 32,
    SHARED_PER_BLOCK = 48 << 10,
    SHARED_PER_BLOCK_OPTIN = 227 << 10,
    SHARED_PER_MULTIPROCESSOR = 228 << 10,
    SHARED_RESERVED = 1 << 10,
    L2_CACHE = 50 << 20,
    GRID_X = 2147483647,
    GRID_YZ = 65535,
    BLOCK_Z = 64,
    WARP = 32,
};

static const uint64_t DEFAULT_MEMORY = 80ULL << 30;

static _Thread_local int current;

int standin_device(void) {
    return current;
}

int standin_devices(void) {
    return (int)standin_setting("STANDIN_CUDA_DEVICES", DEFAULT_DEVICES);
}

uint64_t standin_memory(void) {
    return standin_setting("STANDIN_CUDA_MEMORY", DEFAULT_MEMORY);
}

cudaError_t cudaGetDeviceCount(int *count) {
    *count = standin_devices();
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device) {
    *device = current;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
    if (device < 0 || device >= standin_devices())
        return standin_error(cudaErrorInvalidDevice, "cudaSetDevice");
    current = device;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version) {
    *version = VERSION;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version) {
    *version = VERSION;
    return cudaSuccess;
}

/* cudaDeviceProp of CUDA 13: its size, and the offsets of the fields that are set here. */
enum { PROPERTIES_SIZE = 1008 };

static void set_int(void *properties, size_t offset, int value) {
    memcpy((char *)properties + offset, &value, sizeof value);
}

static void set_size(void *properties, size_t offset, size_t value) {
    memcpy((char *)properties + offset, &value, sizeof value);
}

cudaError_t cudaGetDeviceProperties(void *properties, int device) {
    if (device < 0 || device >= standin_devices())
        return standin_error(cudaErrorInvalidDevice, "cudaGetDeviceProperties");
    memset(properties, 0, PROPERTIES_SIZE);
    strcpy(properties, "Stand-in H100"); /* name */
    set_size(properties, 288, standin_memory()); /* totalGlobalMem */
    set_size(properties, 296, SHARED_PER_BLOCK); /* sharedMemPerBlock */
    set_int(properties, 304, REGISTERS); /* regsPerBlock */
    set_int(properties, 308, WARP); /* warpSize */
    set_int(properties, 320, THREADS_PER_BLOCK); /* maxThreadsPerBlock */
    set_int(properties, 324, THREADS_PER_BLOCK); /* maxThreadsDim */
    set_int(properties, 328, THREADS_PER_BLOCK);
    set_int(properties, 332, BLOCK_Z);
    set_int(properties, 336, GRID_X); /* maxGridSize */
    set_int(properties, 340, GRID_YZ);
    set_int(properties, 344, GRID_YZ);
    set_size(properties, 352, 64 << 10); /* totalConstMem */
    set_int(properties, 360, MAJOR); /* major */
    set_int(properties, 364, MINOR); /* minor */
    set_int(properties, 384, MULTIPROCESSORS); /* multiProcessorCount */
    set_int(properties, 560, 1); /* concurrentKernels */
    set_int(properties, 572, device); /* pciDeviceID */
    set_int(properties, 584, 3); /* asyncEngineCount */
    set_int(properties, 588, 1); /* unifiedAddressing */
    set_int(properties, 596, L2_CACHE); /* l2CacheSize */
    set_int(properties, 604, THREADS_PER_MULTIPROCESSOR); /* maxThreadsPerMultiProcessor */
    set_size(properties, 624, SHARED_PER_MULTIPROCESSOR); /* sharedMemPerMultiprocessor */
    set_int(properties, 632, REGISTERS); /* regsPerMultiprocessor */
    set_int(properties, 668, 1); /* cooperativeLaunch */
    set_size(properties, 672, SHARED_PER_BLOCK_OPTIN); /* sharedMemPerBlockOptin */
    set_int(properties, 688, BLOCKS_PER_MULTIPROCESSOR); /* maxBlocksPerMultiProcessor */
    set_size(properties, 696, SHARED_RESERVED); /* reservedSharedMemPerBlock */
    set_int(properties, 720, 1); /* memoryPoolsSupported */
    set_int(properties, 748, 1); /* clusterLaunch */
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, int attribute, int device) {
    if (device < 0 || device >= standin_devices())
        return standin_error(cudaErrorInvalidDevice, "cudaDeviceGetAttribute");
    /* Values of cudaDeviceAttr. An attribute that is missing here is a capability that the device lacks. */
    static const int values[] = {
        [1] = THREADS_PER_BLOCK,         /* MaxThreadsPerBlock */
        [2] = THREADS_PER_BLOCK,         /* MaxBlockDimX */
        [3] = THREADS_PER_BLOCK,         /* MaxBlockDimY */
        [4] = BLOCK_Z,                   /* MaxBlockDimZ */
        [5] = GRID_X,                    /* MaxGridDimX */
        [6] = GRID_YZ,                   /* MaxGridDimY */
        [7] = GRID_YZ,                   /* MaxGridDimZ */
        [8] = SHARED_PER_BLOCK,          /* MaxSharedMemoryPerBlock */
        [10] = WARP,                     /* WarpSize */
        [12] = REGISTERS,                /* MaxRegistersPerBlock */
        [16] = MULTIPROCESSORS,          /* MultiProcessorCount */
        [38] = L2_CACHE,                 /* L2CacheSize */
        [39] = THREADS_PER_MULTIPROCESSOR, /* MaxThreadsPerMultiProcessor */
        [41] = 1,                        /* UnifiedAddressing */
        [75] = MAJOR,                    /* ComputeCapabilityMajor */
        [76] = MINOR,                    /* ComputeCapabilityMinor */
        [81] = SHARED_PER_MULTIPROCESSOR, /* MaxSharedMemoryPerMultiprocessor */
        [82] = REGISTERS,                /* MaxRegistersPerMultiprocessor */
        [95] = 1,                        /* CooperativeLaunch */
        [97] = SHARED_PER_BLOCK_OPTIN,   /* MaxSharedMemoryPerBlockOptin */
        [106] = BLOCKS_PER_MULTIPROCESSOR, /* MaxBlocksPerMultiprocessor */
        [111] = SHARED_RESERVED,         /* ReservedSharedMemoryPerBlock */
        [115] = 1,                       /* MemoryPoolsSupported */
        [120] = 1,                       /* ClusterLaunch */
    };
    bool known = attribute >= 0 && (size_t)attribute < sizeof values / sizeof *values;
    *value = known ? values[attribute] : 0;
    return cudaSuccess;
}
