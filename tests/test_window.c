/* Windows of time: what is a time, and that a step which would not fit is not begun. */
#include "cli/window.h"
#include "tests/check.h"

#include <time.h>

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){0, ms * 1000000}, NULL);
}

TEST(times_are_read)
{
    struct error err;
    double s = 0;
    CHECK_OK(window_parse("90", &s, &err), &err);
    CHECK_NEAR(s, 90, 1e-9);
    CHECK_OK(window_parse("5h30m", &s, &err), &err);
    CHECK_NEAR(s, 19800, 1e-9);
    CHECK_OK(window_parse("1.5h", &s, &err), &err);
    CHECK_NEAR(s, 5400, 1e-9);
}

TEST(what_is_no_time_is_refused)
{
    static const char *const bad[] = {"", "h", "-5", "5x", "0", "5 h", "nan", "1e9h", "5hm", "inf"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error err = {0};
        double s;
        CHECK_EQ(window_parse(bad[i], &s, &err), ERR_USAGE);
        CHECK_HAS(err.text, "5h30m");
    }
}

TEST(a_step_that_would_not_fit_is_not_begun)
{
    struct error err;
    CHECK(!window_is_over()); /* none is open */
    CHECK_OK(window_open("0.5s", &err), &err);
    CHECK(!window_is_over());
    pause_ms(300);
    CHECK(window_is_over()); /* another 300 ms do not fit into the 200 that are left */
    CHECK(window_is_over());
}

TEST_MAIN
