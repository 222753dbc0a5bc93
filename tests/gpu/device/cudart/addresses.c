/* The devices' addresses.
 *
 * Each device has a range of addresses, mapped twice. The addresses that callers get are PROT_NONE: a read or write by
 * the host crashes, as on a card. The second mapping is readable and writable, and only copies use it. Pages without
 * copied data take no memory and read as zeros, so a device can have more memory than the machine.
 */
#define _GNU_SOURCE
#include "memory.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static pthread_once_t mapped = PTHREAD_ONCE_INIT;
static char *addresses, *view;
static int pages;

static void map(void) {
    int count = standin_devices();
    if (count > STANDIN_MOST_DEVICES) {
        fprintf(stderr, "stand-in device: STANDIN_CUDA_DEVICES is at most %d\n", STANDIN_MOST_DEVICES);
        exit(2);
    }
    size_t size = STANDIN_RANGE * (size_t)count;
    pages = memfd_create("stand-in device", MFD_CLOEXEC);
    if (pages < 0 || ftruncate(pages, (off_t)size) < 0) {
        perror("stand-in device: memory");
        exit(2);
    }
    void *hidden = mmap(NULL, size, PROT_NONE, MAP_SHARED | MAP_NORESERVE, pages, 0);
    void *shown = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, pages, 0);
    if (hidden == MAP_FAILED || shown == MAP_FAILED) {
        perror("stand-in device: memory");
        exit(2);
    }
    addresses = hidden;
    view = shown;
}

int standin_owner(const void *address) {
    pthread_once(&mapped, map);
    uintptr_t offset = (uintptr_t)address - (uintptr_t)addresses;
    return offset < STANDIN_RANGE * (size_t)standin_devices() ? (int)(offset / STANDIN_RANGE) : -1;
}

void *standin_view(const void *address) {
    if (standin_owner(address) < 0)
        return (void *)address;
    return view + ((const char *)address - addresses);
}

void *standin_address(int device, size_t offset) {
    pthread_once(&mapped, map);
    return addresses + STANDIN_RANGE * (size_t)device + offset;
}

void standin_clear(const void *address, size_t bytes) {
    /* Only whole pages, because for a partial page the system would write zeros, which takes memory. */
    size_t page = (size_t)sysconf(_SC_PAGESIZE), from = (size_t)((const char *)address - addresses);
    size_t first = (from + page - 1) / page * page, end = (from + bytes) / page * page;
    if (end > first)
        fallocate(pages, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)first, (off_t)(end - first));
}
