"""What `time.perf_counter_ns()` and `time.thread_time_ns()` read, without the call."""

cdef extern from * nogil:
    """
    #if defined(_WIN32)
    #include <windows.h>
    static inline long long litellm_accel_nanoseconds(void) {
        static LARGE_INTEGER frequency;
        LARGE_INTEGER now;
        if (!frequency.QuadPart) QueryPerformanceFrequency(&frequency);
        QueryPerformanceCounter(&now);
        return (long long)((double)now.QuadPart * 1e9 / (double)frequency.QuadPart);
    }
    static inline long long litellm_accel_thread_nanoseconds(void) {
        FILETIME created, ended, kernel, user;
        ULARGE_INTEGER one, two;
        if (!GetThreadTimes(GetCurrentThread(), &created, &ended, &kernel, &user)) return 0;
        one.LowPart = kernel.dwLowDateTime; one.HighPart = kernel.dwHighDateTime;
        two.LowPart = user.dwLowDateTime; two.HighPart = user.dwHighDateTime;
        return (long long)(one.QuadPart + two.QuadPart) * 100;
    }
    #else
    #include <time.h>
    static inline long long litellm_accel_clock(clockid_t which) {
        struct timespec now;
        clock_gettime(which, &now);
        return (long long)now.tv_sec * 1000000000LL + now.tv_nsec;
    }
    #define litellm_accel_nanoseconds() litellm_accel_clock(CLOCK_MONOTONIC)
    #define litellm_accel_thread_nanoseconds() litellm_accel_clock(CLOCK_THREAD_CPUTIME_ID)
    #endif
    """
    long long nanoseconds "litellm_accel_nanoseconds"()
    long long thread_nanoseconds "litellm_accel_thread_nanoseconds"()
