// What CUDA C has and C++ has not, so that g++ compiles the sources of kernels. No headers: they would take
// longer to compile than the kernels.
#define __global__
#define __device__
#define __shared__ static  // blocks run one after the other

struct Index { unsigned x; };
static Index threadIdx, blockIdx, blockDim, gridDim;

// The overloads that CUDA declares.
#define ONE(name) \
    static inline double name(double a) { return __builtin_##name(a); } \
    static inline float name(float a) { return __builtin_##name##f(a); }
#define TWO(name) \
    static inline double name(double a, double b) { return __builtin_##name(a, b); } \
    static inline float name(float a, float b) { return __builtin_##name##f(a, b); } \
    static inline double name(double a, float b) { return __builtin_##name(a, b); } \
    static inline double name(float a, double b) { return __builtin_##name(a, b); }
ONE(exp) ONE(log) ONE(log1p) ONE(expm1) ONE(sqrt) ONE(tanh) ONE(fabs) ONE(floor) ONE(ceil) TWO(pow) TWO(fmod)
#define SMALLER_AND_LARGER(A, B, C) \
    static inline C min(A a, B b) { C x = a, y = b; return y < x ? y : x; } \
    static inline C max(A a, B b) { C x = a, y = b; return x < y ? y : x; }
SMALLER_AND_LARGER(int, int, int)
SMALLER_AND_LARGER(unsigned, unsigned, unsigned)
SMALLER_AND_LARGER(long long, long long, long long)
#define SMALLER_AND_LARGER_FLOAT(A, B, C, F) \
    static inline C min(A a, B b) { return __builtin_fmin##F(a, b); } /* of a number and NaN: the number */ \
    static inline C max(A a, B b) { return __builtin_fmax##F(a, b); }
SMALLER_AND_LARGER_FLOAT(float, float, float, f)
SMALLER_AND_LARGER_FLOAT(double, double, double, )
SMALLER_AND_LARGER_FLOAT(float, double, double, )
SMALLER_AND_LARGER_FLOAT(double, float, double, )
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((unsigned long long)a * b) >> 32); }

#ifndef THREADS_MEET

#define RUN_BLOCK(call) \
    for (threadIdx.x = 0; threadIdx.x < blockDim.x; ++threadIdx.x) { call; } \
    return 0;

#else  // Threads that wait for each other are fibers: each runs until it waits, then the next one does.

#include <ucontext.h>
static const unsigned MOST = 1024, STACK = (1 << 16) + 320;  // the tops of stacks must not share cache lines
struct Fiber { void* place[5]; char* stack; };
static Fiber fibers[MOST];
static void* scheduler[5];
static unsigned waiting;
static void (*body)();

// To whoever jumps this looks like a call that returns: noipa keeps g++ from knowing better, as others run meanwhile.
static __attribute__((noipa)) void leap(void** to) { __builtin_longjmp(to, 1); }
static __attribute__((noipa)) void jump(void** from, void** to) {
    if (!__builtin_setjmp(from)) leap(to);
}
// Let the next thread of the block go on; behind the last one, the scheduler.
static void pass_on() {
    void** me = fibers[threadIdx.x].place;
    ++threadIdx.x;
    jump(me, threadIdx.x < blockDim.x ? fibers[threadIdx.x].place : scheduler);
}
static void __syncthreads() {
    ++waiting;
    pass_on();
}
static void live() {
    jump(fibers[threadIdx.x].place, scheduler);
    for (;;) {
        body();
        pass_on();
    }
}
static __attribute__((noipa)) void give_birth(Fiber& fiber) {
    static ucontext_t start, here;
    fiber.stack = (char*)__builtin_malloc(STACK);
    getcontext(&start);
    start.uc_stack.ss_sp = fiber.stack;
    start.uc_stack.ss_size = STACK;
    makecontext(&start, live, 0);
    if (!__builtin_setjmp(scheduler)) swapcontext(&here, &start);
}
// All threads of one block, from barrier to barrier; 1 if some threads wait where others have gone home.
static int run_block() {
    for (threadIdx.x = 0; threadIdx.x < blockDim.x; ++threadIdx.x)
        if (!fibers[threadIdx.x].stack) give_birth(fibers[threadIdx.x]);
    do {
        waiting = 0;
        threadIdx.x = 0;
        jump(scheduler, fibers[0].place);
    } while (waiting == blockDim.x);
    if (waiting)
        for (unsigned t = 0; t < blockDim.x; ++t) fibers[t].stack = 0;  // lost, in the midst of the kernel
    return waiting != 0;
}
#define RUN_BLOCK(call) return run_block();

#endif
