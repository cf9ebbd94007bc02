#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"

static uint64_t virtual_mono(void *context)
{
    return *(uint64_t *)context;
}

static uint64_t virtual_wall(void *context)
{
    return *(uint64_t *)context / 1000 + 5;
}

static void an_installed_clock_is_read(void **state)
{
    uint64_t now_us = 1234567;
    const struct clock virtual_clock = {virtual_mono, virtual_wall, &now_us};
    (void)state;
    clock_install(&virtual_clock);
    assert_int_equal(clock_mono_us(), 1234567);
    assert_int_equal(clock_mono_ms(), 1234);
    assert_int_equal(clock_boot_ms(), 1234);
    assert_int_equal(clock_wall_ms(), 1239);
    assert_int_equal(clock_until_ms(1300), 66);
    assert_int_equal(clock_until_ms(1000), 0);
    assert_true(clock_until_ms(CLOCK_NEVER) == CLOCK_NEVER);
    clock_install(NULL);
    assert_true(clock_wall_ms() > 1600000000000);
}

static void real_time_goes_on(void **state)
{
    uint64_t before = clock_mono_us();
    time_ms boot_before = clock_boot_ms();
    (void)state;
    clock_sleep_ms(2);
    assert_true(clock_mono_us() >= before + 2000);
    assert_true(clock_boot_ms() > boot_before);
    assert_true(clock_boot_ms() >= clock_mono_ms()); /* time asleep counts */
    assert_true(clock_real()->mono_us(clock_real()->context) >= before);
    assert_true(clock_cpu_us() > 0);
}

static void times_are_shown_in_utc(void **state)
{
    char text[CLOCK_TEXT_BYTES];
    (void)state;
    assert_string_equal(clock_format_utc(0, text), "1970-01-01T00:00:00.000Z");
    assert_string_equal(clock_format_utc(951782400123, text), "2000-02-29T00:00:00.123Z");
    assert_string_equal(clock_format_utc(UINT64_MAX, text), "9999-12-31T23:59:59.999Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_installed_clock_is_read),
        cmocka_unit_test(real_time_goes_on),
        cmocka_unit_test(times_are_shown_in_utc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
