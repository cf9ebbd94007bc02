/* CHECK: our own mistakes end the process with the place and the condition; never for data from
 * disk or peers, which is ERR_CORRUPT or ERR_INVALID. DCHECK: invariants that cost O(n), compiled
 * in with TRIREME_DCHECK. One condition each. Failure goes through one function pointer, which
 * tests point at mock_assert (see varnish vas.h). */
#ifndef COMMON_CHECK_H
#define COMMON_CHECK_H

typedef void (*check_fail_fn)(const char *condition, const char *file, int line);

/* Default: one line on stderr, then abort(). */
extern check_fail_fn check_fail;

#ifdef __clang_analyzer__
/* For clang-tidy, which cannot know that check_fail does not return. */
#define CHECK(condition) ((condition) ? (void)0 : __builtin_unreachable())
#else
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0)) {                                                   \
            check_fail(#condition, __FILE__, __LINE__);                                            \
        }                                                                                          \
    } while (0)
#endif

#ifdef TRIREME_DCHECK
#define DCHECK(condition) CHECK(condition)
#else
#define DCHECK(condition) ((void)sizeof(!(condition)))
#endif

#endif
