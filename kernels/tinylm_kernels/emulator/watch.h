// What the machine tells the one that watches it, and what that one finds.
#pragma once
#include <cstddef>
#include <cstdint>

namespace watch {

enum Kind { RACE, OUTSIDE, UNWRITTEN, BARRIER_APART, LANES_APART, ABSENT_LANE, MASK_WITHOUT_ITSELF, UNDEFINED, REFUSED };

// One mistake. `site` and `other_site` are addresses in the program, from which the line follows.
struct Finding {
    uint32_t kind, block, thread, other_block, other_thread, bytes;
    int32_t array, write, other_write;
    int64_t offset;
    uint64_t site, other_site;
    char text[96];
};

// One step of a thread that is traced: a read, a write, or a meeting.
struct Step {
    uint32_t kind, bytes;
    int32_t array;
    int64_t offset;
    uint64_t site;
    unsigned char value[16];
};
enum StepKind { READS, WRITES, ADDS, MEETS };

void start(char* dynamic_shared, size_t bytes);
size_t end();
void start_block(unsigned block, unsigned threads);
void poison_shared();
void finish_thread();
void meet(const void* site);
void order_warp(unsigned first, unsigned mask, unsigned count);
void order_block();
void note(Kind kind, unsigned thread, const void* site, unsigned other, const void* other_site);
void refuse(const char* what, const void* site);

}  // namespace watch

extern "C" {
void emulator_stop();
unsigned emulator_thread();
const char* emulator_stack();
size_t emulator_stack_size();
}
