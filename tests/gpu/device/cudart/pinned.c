/* Pinned memory of the host, which is ordinary memory here. */
#include "memory.h"

#include <pthread.h>
#include <stdlib.h>

static const size_t PAGE = 4096;

struct pinned {
    void *address;
    struct pinned *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* The provider pins a handful of buffers, so a list is enough. */
static struct pinned *first;

static struct pinned **find(const void *address) {
    struct pinned **at = &first;
    while (*at && (*at)->address != address)
        at = &(*at)->next;
    return at;
}

bool standin_is_pinned(const void *address) {
    pthread_mutex_lock(&lock);
    bool found = *find(address) != NULL;
    pthread_mutex_unlock(&lock);
    return found;
}

cudaError_t cudaHostAlloc(void **address, size_t bytes, unsigned) {
    cudaError_t error = standin_forbid_in_any_capture("cudaHostAlloc");
    if (error)
        return error;
    *address = aligned_alloc(PAGE, (bytes + PAGE - 1) / PAGE * PAGE);
    if (!*address)
        return standin_error(cudaErrorMemoryAllocation, "cudaHostAlloc");
    struct pinned *new = malloc(sizeof *new);
    pthread_mutex_lock(&lock);
    *new = (struct pinned){*address, first};
    first = new;
    pthread_mutex_unlock(&lock);
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **address, size_t bytes) {
    return cudaHostAlloc(address, bytes, 0);
}

cudaError_t cudaFreeHost(void *address) {
    if (!address)
        return cudaSuccess;
    pthread_mutex_lock(&lock);
    struct pinned **at = find(address), *old = *at;
    if (old)
        *at = old->next;
    pthread_mutex_unlock(&lock);
    if (!old)
        return standin_error(cudaErrorInvalidValue, "cudaFreeHost");
    free(old->address);
    free(old);
    return cudaSuccess;
}
