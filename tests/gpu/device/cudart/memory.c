/* Memory of the devices: the allocations and the peak. */
#include "memory.h"

#include <pthread.h>
#include <stdlib.h>

/* A gap between allocations, so that an overrun does not reach the next one. */
enum { BUCKETS = 1 << 14, NONE = -1, ALIGNMENT = 512, GAP = 4096 };

struct allocation {
    void *address;
    size_t bytes;
    int device;
    struct allocation *next;
};

struct device {
    size_t next, used, peak;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct device devices[STANDIN_MOST_DEVICES];
static struct allocation *buckets[BUCKETS];

static struct allocation **bucket(const void *address) {
    return &buckets[((uintptr_t)address / ALIGNMENT) % BUCKETS];
}

static void add(void *address, size_t bytes, int device) {
    struct allocation *new = malloc(sizeof *new);
    *new = (struct allocation){address, bytes, device, *bucket(address)};
    *bucket(address) = new;
}

/* Removes an allocation and returns it. Its device is NONE if there is no allocation at the address. */
static struct allocation take(const void *address) {
    for (struct allocation **at = bucket(address); *at; at = &(*at)->next) {
        if ((*at)->address != address)
            continue;
        struct allocation *found = *at, result = *found;
        *at = found->next;
        free(found);
        return result;
    }
    return (struct allocation){NULL, 0, NONE, NULL};
}

static cudaError_t allocate(void **address, size_t bytes, int number, const char *call) {
    struct device *device = &devices[number];
    pthread_mutex_lock(&lock);
    if (bytes > standin_memory() - device->used || bytes > STANDIN_RANGE - device->next - GAP) {
        standin_log("out_of_memory device=%d bytes=%zu used=%zu memory=%llu call=%s", number, bytes, device->used,
                    (unsigned long long)standin_memory(), call);
        pthread_mutex_unlock(&lock);
        return standin_error(cudaErrorMemoryAllocation, call);
    }
    /* The gap catches overruns. It comes first, so no device's range begins with an allocation. */
    *address = standin_address(number, device->next + GAP);
    device->next += GAP + (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    device->used += bytes;
    device->peak = device->used > device->peak ? device->used : device->peak;
    add(*address, bytes, number);
    standin_log("allocate device=%d bytes=%zu used=%zu peak=%zu call=%s", number, bytes, device->used, device->peak,
                call);
    pthread_mutex_unlock(&lock);
    return cudaSuccess;
}

static cudaError_t release(void *address, const char *call) {
    if (!address)
        return cudaSuccess;
    pthread_mutex_lock(&lock);
    struct allocation old = take(address);
    if (old.device == NONE) {
        pthread_mutex_unlock(&lock);
        return standin_error(cudaErrorInvalidValue, call);
    }
    devices[old.device].used -= old.bytes;
    standin_log("free device=%d bytes=%zu used=%zu call=%s", old.device, old.bytes, devices[old.device].used, call);
    pthread_mutex_unlock(&lock);
    standin_clear(address, old.bytes);
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **address, size_t bytes) {
    cudaError_t error = standin_forbid_in_any_capture("cudaMalloc");
    return error ? error : allocate(address, bytes, standin_device(), "cudaMalloc");
}

cudaError_t cudaFree(void *address) {
    cudaError_t error = standin_forbid_in_any_capture("cudaFree");
    return error ? error : release(address, "cudaFree");
}

cudaError_t cudaMemGetInfo(size_t *available, size_t *total) {
    pthread_mutex_lock(&lock);
    *total = standin_memory();
    *available = *total - devices[standin_device()].used;
    pthread_mutex_unlock(&lock);
    return cudaSuccess;
}

cudaError_t cudaFreeAsync(void *address, cudaStream_t) {
    return release(address, "cudaFreeAsync");
}

/* A memory pool is represented by its device's number plus one, and retains no memory. */
cudaError_t cudaMallocFromPoolAsync(void **address, size_t bytes, void *pool, cudaStream_t) {
    return allocate(address, bytes, (int)(intptr_t)pool - 1, "cudaMallocFromPoolAsync");
}

/* cudaMemPoolProps begins with the kind of allocation, the kind of handle, and the kind and number of the location. */
cudaError_t cudaMemPoolCreate(void **pool, const int properties[4]) {
    *pool = (void *)(intptr_t)(properties[3] + 1);
    return cudaSuccess;
}

cudaError_t cudaMemPoolDestroy(void *) {
    return cudaSuccess;
}

cudaError_t cudaMemPoolGetAttribute(void *, int, uint64_t *value) {
    *value = 0;
    return cudaSuccess;
}

cudaError_t cudaMemPoolSetAttribute(void *, int, void *) {
    return cudaSuccess;
}

cudaError_t cudaMemPoolTrimTo(void *, size_t) {
    return cudaSuccess;
}

/* cudaPointerAttributes: kind of memory (0 unregistered, 1 pinned, 2 device), device, and the address for device and host. */
struct pointer_attributes {
    int kind, device;
    void *on_device, *on_host;
    long reserved[8];
};

cudaError_t cudaPointerGetAttributes(struct pointer_attributes *attributes, const void *address) {
    int owner = standin_owner(address);
    bool pinned = owner < 0 && standin_is_pinned(address);
    *attributes = (struct pointer_attributes){
        .kind = owner >= 0 ? 2 : pinned ? 1 : 0,
        .device = owner >= 0 ? owner : standin_device(),
        .on_device = owner >= 0 || pinned ? (void *)address : NULL,
        .on_host = owner >= 0 ? NULL : (void *)address,
    };
    return cudaSuccess;
}
