// A machine that runs CUDA's threads on a CPU, each on a stack of its own, one at a time: a thread goes on until it has
// to wait for others, then the next one does. Blocks run one after the other.
//
// Where a program was compiled with -fsanitize=thread, the compiler has put a call before every read and write of
// memory; the usual runtime of that option is for operating-system threads, so watch.cpp answers these calls.
#include "machine.h"
#include "watch.h"
#include <csetjmp>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <ucontext.h>

namespace machine {

constexpr size_t STACK = 256 << 10;
constexpr unsigned WARP = 32;
enum State { READY, AT_BARRIER, AT_WARP, DONE };

struct Thread {
    State state;
    jmp_buf registers;
    ucontext_t start;      // the first time only: what follows goes by longjmp, which asks nothing of the system
    const void* site;      // where it waits
    unsigned mask;         // whom it waits for, in its warp
    int lane;              // whose register it reads, or VOTE, or MEET
    unsigned char deposit[16], received[16];
    size_t bytes;
};
constexpr int VOTE = -1, MEET = -2;

static Thread* threads;
static char* stacks;
static unsigned count, current, block_number;
static jmp_buf scheduler;
static bool stopped;  // nothing runs on after a mistake that cannot be survived
static Kernel kernel;
static void** arguments;
static char* dynamic_shared;

static void place(unsigned thread) {
    current = thread;
    threadIdx = {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / (blockDim.x * blockDim.y)};
}

// Gives the machine back to the scheduler; returns when this thread may go on.
static void wait(State state) {
    threads[current].state = state;
    if (!_setjmp(threads[current].registers)) _longjmp(scheduler, 1);
}

static void body() {
    kernel(arguments);
    watch::finish_thread();
    threads[current].state = DONE;
    _longjmp(scheduler, 1);
}

static void go_on(unsigned thread, bool first) {
    place(thread);
    if (_setjmp(scheduler)) return;
    if (!first) _longjmp(threads[thread].registers, 1);
    Thread& t = threads[thread];
    getcontext(&t.start);
    t.start.uc_stack.ss_sp = stacks + thread * STACK;
    t.start.uc_stack.ss_size = STACK;
    t.start.uc_link = nullptr;
    makecontext(&t.start, body, 0);
    setcontext(&t.start);
}

// Lets the lanes that wait together go on, once the last of them is there.
static void meet_in_warp() {
    const Thread& me = threads[current];
    const unsigned first = current / WARP * WARP;
    for (unsigned i = 0; i < WARP; i++) {
        if (!(me.mask >> i & 1)) continue;
        if (first + i >= count) continue;  // a last warp may be smaller than its mask
        const Thread& t = threads[first + i];
        if (t.state != AT_WARP || t.site != me.site || t.mask != me.mask) return;
    }
    unsigned votes = 0;
    for (unsigned i = 0; i < WARP && first + i < count; i++)
        if (me.mask >> i & 1) votes |= (unsigned)threads[first + i].deposit[0] << i;
    for (unsigned i = 0; i < WARP && first + i < count; i++) {
        if (!(me.mask >> i & 1)) continue;
        Thread& t = threads[first + i];
        if (t.lane == VOTE) memcpy(t.received, &votes, sizeof votes);
        else if (t.lane >= 0 && (me.mask >> t.lane & 1) && first + t.lane < count)
            memcpy(t.received, threads[first + t.lane].deposit, t.bytes);
        else if (t.lane >= 0) {
            memset(t.received, 0xff, t.bytes);  // NaN: the register of a lane that is not there
            watch::note(watch::ABSENT_LANE, first + i, t.site, first + t.lane, nullptr);
        }
        t.state = READY;
    }
    if (me.lane == MEET) watch::order_warp(first, me.mask, count);
}

static void meet(unsigned mask, int lane, const void* value, size_t bytes, const void* site) {
    Thread& me = threads[current];
    if (!(mask >> (current % WARP) & 1)) watch::note(watch::MASK_WITHOUT_ITSELF, current, site, current, nullptr);
    me.site = site, me.mask = mask | 1u << (current % WARP), me.lane = lane, me.bytes = bytes;
    if (bytes) memcpy(me.deposit, value, bytes);
    me.state = AT_WARP;
    meet_in_warp();
    if (me.state == AT_WARP) wait(AT_WARP);
}

// All threads that are not done wait. True where they wait for each other and may go on.
static bool meet_in_block() {
    const Thread* first = nullptr;
    unsigned at_barrier = 0, done = 0;
    for (unsigned i = 0; i < count; i++) {
        at_barrier += threads[i].state == AT_BARRIER;
        done += threads[i].state == DONE;
        if (threads[i].state == AT_BARRIER && !first) first = &threads[i];
    }
    if (done == count) return false;
    for (unsigned i = 0; i < count; i++) {
        const Thread& t = threads[i];
        if (t.state == AT_WARP) watch::note(watch::LANES_APART, i, t.site, i, nullptr);
        else if (first && (t.state == DONE || t.site != first->site))
            watch::note(watch::BARRIER_APART, first - threads, first->site, i, t.state == DONE ? nullptr : t.site);
    }
    if (at_barrier + done < count) return false;  // lanes that wait for what will not come
    for (unsigned i = 0; i < count; i++)
        if (threads[i].state == AT_BARRIER) threads[i].state = READY;
    watch::order_block();
    return true;
}

static void run_block(const unsigned* order) {
    for (unsigned i = 0; i < count; i++) threads[i].state = READY;
    watch::start_block(block_number, count);
    bool first = true;
    do {
        for (bool moved = true; moved && !stopped;) {
            moved = false;
            for (unsigned i = 0; i < count && !stopped; i++)
                if (threads[order[i]].state == READY) go_on(order[i], first), moved = true;
            first = false;
        }
    } while (!stopped && meet_in_block());
}

// Forwards, backwards, or shuffled by a seed: a right program does not depend on it.
static void put_in_order(unsigned* order, unsigned n, unsigned seed) {
    for (unsigned i = 0; i < n; i++) order[i] = seed == 1 ? n - 1 - i : i;
    unsigned long long random = seed;
    for (unsigned i = n; seed > 1 && i-- > 1;) {
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        const unsigned j = (random >> 33) % (i + 1), other = order[j];
        order[j] = order[i], order[i] = other;
    }
}

}  // namespace machine

using namespace machine;

extern "C" {
uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

void __syncthreads() {
    threads[current].site = __builtin_return_address(0);
    watch::meet(threads[current].site);
    wait(AT_BARRIER);
}
void __syncwarp(unsigned mask) {
    watch::meet(__builtin_return_address(0));
    meet(mask, MEET, nullptr, 0, __builtin_return_address(0));
}
void emulator_exchange(unsigned mask, const void* value, size_t bytes, int lane, void* received) {
    if (bytes > sizeof threads->deposit) emulator_refuse("a shuffle of more than 16 bytes");
    meet(mask, lane, value, bytes, __builtin_return_address(0));
    memcpy(received, threads[current].received, bytes);
}
unsigned emulator_vote(unsigned mask, bool predicate) {
    const unsigned char deposit = predicate;
    meet(mask, VOTE, &deposit, 1, __builtin_return_address(0));
    unsigned votes;
    memcpy(&votes, threads[current].received, sizeof votes);
    return votes;
}
char* emulator_dynamic_shared() { return dynamic_shared; }
void emulator_refuse(const char* what) { watch::refuse(what, __builtin_return_address(0)), emulator_stop(); }
void emulator_stop() { stopped = true, _longjmp(scheduler, 1); }
unsigned emulator_thread() { return current; }
const char* emulator_stack() { return stacks + current * STACK; }
size_t emulator_stack_size() { return STACK; }

// Runs a kernel. order: 0 forwards, 1 backwards, above: a seed. Returns the number of findings.
size_t emulator_launch(Kernel what, void** with, const unsigned* grid, const unsigned* block, size_t shared,
                       unsigned order_of) {
    gridDim = {grid[0], grid[1], grid[2]}, blockDim = {block[0], block[1], block[2]};
    const unsigned blocks = grid[0] * grid[1] * grid[2];
    count = block[0] * block[1] * block[2], kernel = what, arguments = with, stopped = false;
    threads = static_cast<Thread*>(calloc(count, sizeof *threads));
    stacks = static_cast<char*>(mmap(nullptr, count * STACK, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    dynamic_shared = static_cast<char*>(aligned_alloc(256, (shared + 511) / 256 * 256));
    auto* order = static_cast<unsigned*>(malloc(sizeof(unsigned) * (count + blocks)));
    put_in_order(order, count, order_of);
    put_in_order(order + count, blocks, order_of);
    watch::start(dynamic_shared, shared);
    for (unsigned i = 0; i < blocks && !stopped; i++) {
        block_number = order[count + i];
        blockIdx = {block_number % gridDim.x, block_number / gridDim.x % gridDim.y, block_number / (gridDim.x * gridDim.y)};
        watch::poison_shared();
        run_block(order);
    }
    munmap(stacks, count * STACK);
    free(dynamic_shared), free(threads), free(order);
    return watch::end();
}
}
