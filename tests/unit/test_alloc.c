#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/alloc.h"

static void sizes_of_zero_give_memory(void **state)
{
    (void)state;
    void *memory[] = {xmalloc(0), xcalloc(0, 8), xcalloc(8, 0), xrealloc(NULL, 0),
                      xmemdup(NULL, 0)};
    for (size_t i = 0; i < sizeof(memory) / sizeof(memory[0]); i++) {
        assert_non_null(memory[i]);
        free(memory[i]);
    }
}

static void strings(void **state)
{
    (void)state;
    char *text[] = {xstrdup("abc"), xstrndup("abcdef", 3), xstrndup("abc", 9),
                    xprintf("a%c%s", 'b', "c")};
    for (size_t i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
        assert_string_equal(text[i], "abc");
        free(text[i]);
    }
}

static void overflow_and_exhaustion_abort(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            int null = dup2(STDIN_FILENO, STDERR_FILENO);
            volatile size_t huge = SIZE_MAX / 2; /* the compiler would warn of a constant */
            free(which == 0 || null < 0 ? xreallocarray(NULL, huge, 3) : xmalloc(huge));
            _exit(0);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_of_zero_give_memory),
        cmocka_unit_test(strings),
        cmocka_unit_test(overflow_and_exhaustion_abort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
