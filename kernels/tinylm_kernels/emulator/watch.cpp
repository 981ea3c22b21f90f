// Watches every read and write of a program: are two of them, by different threads, a race? Do they stay inside of
// their arrays? Has anybody written what is read from shared memory?
//
// Two accesses of which one writes are in order where a barrier of the block lies between them, or, for lanes of one
// warp, a __syncwarp that both took part in. A shuffle orders no memory. Between blocks there is no order at all.
#include "watch.h"
#include "machine.h"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <link.h>

extern "C" char __start_cuda_shared[] __attribute__((weak, visibility("hidden")));
extern "C" char __stop_cuda_shared[] __attribute__((weak, visibility("hidden")));

namespace watch {

constexpr unsigned WARP = 32, MOST_THREADS = 1024, MOST_FINDINGS = 64, MOST_STEPS = 1 << 16, NOBODY = ~0u;
constexpr int STATIC_SHARED = -1, DYNAMIC_SHARED_MEMORY = -2, NOWHERE = -3;

// Who touched a byte: when, by the barriers of its block and the meetings of its warp.
struct Touch {
    uint32_t block = NOBODY, barriers, site;
    uint16_t thread, meetings;
};
struct Cell {
    Touch written, read[2];  // the last two threads that read: a third one that writes is not both
    bool atomic, atomic_read;
};
struct Region {
    char* at;
    size_t bytes;
    size_t margin;  // bytes before and after that belong to it and must not be touched
    int array;
    Cell* cells;
};

static Region regions[64];
static unsigned number_of_regions, given;
static Finding findings[MOST_FINDINGS];
static size_t number_of_findings;
static Step steps[MOST_STEPS];
static size_t number_of_steps;
static Step* unfinished;  // a write whose value is not there yet
static const char* unfinished_at;
static unsigned traced_block = NOBODY, traced_thread;
static uint32_t block, barriers;
// What lane i knows of lane j: how many meetings of j it is sure to come after.
static uint16_t known[MOST_THREADS][WARP];
static char *program_start, *program_end;

static uint64_t in_program(const void* site) {
    return site ? static_cast<const char*>(site) - program_start : 0;
}

static int find_program(dl_phdr_info* info, size_t, void*) {
    auto* here = reinterpret_cast<char*>(&find_program);
    char *first = nullptr, *last = nullptr;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type != PT_LOAD) continue;
        char* at = reinterpret_cast<char*>(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
        if (!first) first = at;
        last = at + info->dlpi_phdr[i].p_memsz;
    }
    if (here < first || here >= last) return 0;
    program_start = reinterpret_cast<char*>(info->dlpi_addr), program_end = last;
    return 1;
}

static Finding* found(Kind kind, unsigned thread, const void* site, unsigned other_block, unsigned other,
                      uint64_t other_site) {
    for (size_t i = 0; i < number_of_findings; i++)
        if (findings[i].kind == kind && findings[i].site == in_program(site) && findings[i].other_site == other_site)
            return nullptr;  // once for each pair of places
    if (number_of_findings == MOST_FINDINGS) return nullptr;
    Finding* f = &findings[number_of_findings++];
    *f = {};
    f->kind = kind, f->block = block, f->thread = thread, f->site = in_program(site);
    f->other_block = other_block, f->other_thread = other, f->other_site = other_site, f->array = NOWHERE;
    return f;
}

void note(Kind kind, unsigned thread, const void* site, unsigned other, const void* other_site) {
    found(kind, thread, site, block, other, in_program(other_site));
}

void refuse(const char* what, const void* site) {
    if (Finding* f = found(REFUSED, emulator_thread(), site, block, emulator_thread(), 0))
        snprintf(f->text, sizeof f->text, "%s", what);
}

static void undefined(const char* what, const void* site) {
    if (Finding* f = found(UNDEFINED, emulator_thread(), site, block, emulator_thread(), 0))
        snprintf(f->text, sizeof f->text, "%s", what);
}

static void complete_step() {
    if (!unfinished) return;
    memcpy(unfinished->value, unfinished_at, unfinished->bytes);
    unfinished = nullptr;
}

static void step(StepKind kind, const void* site, const Region* region, const char* at, size_t bytes) {
    if (block != traced_block || emulator_thread() != traced_thread) return;
    complete_step();
    if (number_of_steps == MOST_STEPS) return;
    Step* s = &steps[number_of_steps++];
    *s = {kind, (uint32_t)bytes, region ? region->array : NOWHERE, region ? at - region->at : 0, in_program(site), {}};
    if (kind == WRITES || kind == ADDS) unfinished = s, unfinished_at = at;
    else if (kind == READS) memcpy(s->value, at, bytes);
}

void meet(const void* site) { step(MEETS, site, nullptr, nullptr, 0); }
void finish_thread() {
    if (block == traced_block && emulator_thread() == traced_thread) complete_step();
}

static void add_region(char* at, size_t bytes, size_t margin, int array) {
    auto* cells = static_cast<Cell*>(malloc(bytes * sizeof(Cell) + 1));
    for (size_t i = 0; i < bytes; i++) cells[i] = Cell{};
    regions[number_of_regions++] = {at, bytes, margin, array, cells};
}

void start(char* dynamic_shared, size_t bytes) {
    dl_iterate_phdr(find_program, nullptr);
    number_of_findings = number_of_steps = 0, unfinished = nullptr;
    given = number_of_regions;
    if (__start_cuda_shared) add_region(__start_cuda_shared, __stop_cuda_shared - __start_cuda_shared, 0, STATIC_SHARED);
    if (bytes) add_region(dynamic_shared, bytes, 256 - bytes % 256, DYNAMIC_SHARED_MEMORY);
}

size_t end() {
    for (unsigned i = 0; i < number_of_regions; i++) free(regions[i].cells);
    number_of_regions = 0;
    return number_of_findings;
}

void poison_shared() {
    for (unsigned i = given; i < number_of_regions; i++) memset(regions[i].at, 0xff, regions[i].bytes);  // NaN
}

void start_block(unsigned number, unsigned) {
    block = number, barriers = 0;
    memset(known, 0, sizeof known);
}

void order_block() { barriers++; }

void order_warp(unsigned first, unsigned mask, unsigned count) {
    uint16_t together[WARP] = {};
    for (unsigned i = 0; i < WARP && first + i < count; i++) {
        if (!(mask >> i & 1)) continue;
        known[first + i][i]++;
        for (unsigned j = 0; j < WARP; j++)
            if (known[first + i][j] > together[j]) together[j] = known[first + i][j];
    }
    for (unsigned i = 0; i < WARP && first + i < count; i++)
        if (mask >> i & 1) memcpy(known[first + i], together, sizeof together);
}

static bool in_order(const Touch& before, unsigned me) {
    if (before.block == NOBODY) return true;
    if (before.block != block) return false;
    if (before.thread == me || before.barriers < barriers) return true;
    return before.thread / WARP == me / WARP && known[me][before.thread % WARP] > before.meetings;
}

static Touch touch(unsigned me, const void* site) {
    Touch t;
    t.block = block, t.barriers = barriers, t.site = (uint32_t)in_program(site);
    t.thread = (uint16_t)me, t.meetings = known[me][me % WARP];
    return t;
}

static void race(const Region& region, const char* at, size_t bytes, bool write, const void* site, const Touch& other,
                 bool other_write) {
    Finding* f = found(RACE, emulator_thread(), site, other.block, other.thread, other.site);
    if (!f) return;
    f->array = region.array, f->offset = at - region.at, f->bytes = (uint32_t)bytes;
    f->write = write, f->other_write = other_write;
}

static void check_cell(Region& region, const char* at, size_t bytes, bool write, bool atomic, const void* site) {
    const unsigned me = emulator_thread();
    const bool shared = region.array < 0;
    Cell& cell = region.cells[at - region.at];
    if (shared && cell.written.block != block) {
        if (cell.written.block != NOBODY || cell.read[0].block != block) cell = Cell{};  // of a block that is gone
        if (!write && cell.written.block != block)
            if (Finding* f = found(UNWRITTEN, me, site, block, me, 0)) f->array = region.array, f->offset = at - region.at;
    }
    if (!(atomic && cell.atomic) && !in_order(cell.written, me)) race(region, at, bytes, write, site, cell.written, true);
    const Touch now = touch(me, site);
    if (write) {
        for (const Touch& reader : cell.read)
            if (!in_order(reader, me)) race(region, at, bytes, write, site, reader, false);
        cell.written = now, cell.atomic = atomic;
        return;
    }
    if (cell.read[0].thread != me || cell.read[0].block != block) cell.read[1] = cell.read[0];
    cell.read[0] = now;
}

static void access(const void* address, size_t bytes, bool write, bool atomic, const void* site) {
    char* at = static_cast<char*>(const_cast<void*>(address));
    const char* stack = emulator_stack();
    if (at >= stack && at < stack + emulator_stack_size()) return;
    for (unsigned i = 0; i < number_of_regions; i++) {
        Region& region = regions[i];
        if (at < region.at - region.margin || at >= region.at + region.bytes + region.margin) continue;
        if (at < region.at || at + bytes > region.at + region.bytes) {
            if (Finding* f = found(OUTSIDE, emulator_thread(), site, block, emulator_thread(), 0))
                f->array = region.array, f->offset = at - region.at, f->bytes = (uint32_t)bytes, f->write = write;
            return;
        }
        step(atomic ? ADDS : write ? WRITES : READS, site, &region, at, bytes);
        for (size_t j = 0; j < bytes; j++) check_cell(region, at + j, bytes, write, atomic, site);
        return;
    }
    if (at >= program_start && at < program_end) return;  // constants, threadIdx and such
    if (Finding* f = found(OUTSIDE, emulator_thread(), site, block, emulator_thread(), 0))
        f->bytes = (uint32_t)bytes, f->write = write;
    emulator_stop();  // what lies there is not ours: to go on would be to crash
}

}  // namespace watch

extern "C" {

void emulator_add_array(char* at, size_t bytes, size_t margin, int array) { watch::add_region(at, bytes, margin, array); }
void emulator_trace(unsigned block, unsigned thread) { watch::traced_block = block, watch::traced_thread = thread; }
const watch::Finding* emulator_findings() { return watch::findings; }
const watch::Step* emulator_steps(size_t* number) { return *number = watch::number_of_steps, watch::steps; }
void emulator_atomic(const void* at, size_t bytes, const void* site) { watch::access(at, bytes, true, true, site); }

// What -fsanitize=thread calls.
#define HERE __builtin_return_address(0)
#define ACCESSES(bytes)                                                                                  \
    void __tsan_read##bytes(void* at) { watch::access(at, bytes, false, false, HERE); }                 \
    void __tsan_write##bytes(void* at) { watch::access(at, bytes, true, false, HERE); }                 \
    void __tsan_unaligned_read##bytes(void* at) { watch::access(at, bytes, false, false, HERE); }       \
    void __tsan_unaligned_write##bytes(void* at) { watch::access(at, bytes, true, false, HERE); }
ACCESSES(1) ACCESSES(2) ACCESSES(4) ACCESSES(8) ACCESSES(16)
void __tsan_read_range(void* at, size_t bytes) { watch::access(at, bytes, false, false, HERE); }
void __tsan_write_range(void* at, size_t bytes) { watch::access(at, bytes, true, false, HERE); }
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}

// What -fsanitize=undefined calls, for the mistakes that it is asked to look for.
#define UNDEFINED(name, what) \
    void __ubsan_handle_##name(void*, void*, void*) { watch::undefined(what, HERE); }
UNDEFINED(add_overflow, "a sum of signed integers overflows")
UNDEFINED(sub_overflow, "a difference of signed integers overflows")
UNDEFINED(mul_overflow, "a product of signed integers overflows")
UNDEFINED(negate_overflow, "the negative of a signed integer overflows")
UNDEFINED(divrem_overflow, "a division by zero, or one that overflows")
UNDEFINED(shift_out_of_bounds, "a shift by more bits than there are")
UNDEFINED(out_of_bounds, "an index beyond the end of an array")
UNDEFINED(type_mismatch_v1, "a pointer that is null or not aligned for its type")
}
