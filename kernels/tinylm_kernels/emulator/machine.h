// What a CUDA program that runs on a CPU asks of the machine beneath it. `machine.cpp` is that machine.
#pragma once
#include <cstddef>
#include <cstdint>

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x, y, z; };

// Where the running thread stands. Set before a thread goes on.
extern "C" uint3 threadIdx, blockIdx;
extern "C" dim3 blockDim, gridDim;

// One pointer per kernel: it unpacks its arguments, as cuLaunchKernel's `void**` holds them.
typedef void (*Kernel)(void** arguments);

extern "C" {
// All threads of the block meet; what they wrote before is seen by all after.
void __syncthreads();
// The lanes of the mask meet; what they wrote before is seen by them after.
void __syncwarp(unsigned mask = 0xffffffffu);
// The lanes of the mask meet and read each other's registers. Nothing is said of memory. `lane` is the one that is read.
void emulator_exchange(unsigned mask, const void* value, size_t bytes, int lane, void* received);
// The lanes of the mask meet; each receives the bits of all predicates.
unsigned emulator_vote(unsigned mask, bool predicate);
// An atomic operation is about to touch these bytes.
void emulator_atomic(const void* at, size_t bytes, const void* site);
// The dynamic shared memory of the block.
char* emulator_dynamic_shared();
// A mistake that the program itself can name, such as a lane outside of its warp.
void emulator_refuse(const char* what);
}
