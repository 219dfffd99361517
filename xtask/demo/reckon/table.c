/* The table of functions, and looking one up. */
#include "reckon.h"

#include <string.h>

double apply_abs(const double *a);
double apply_celsius(const double *a);
double apply_choose(const double *a);
double apply_cube(const double *a);
double apply_digits(const double *a);
double apply_exp(const double *a);
double apply_factorial(const double *a);
double apply_fahrenheit(const double *a);
double apply_fibonacci(const double *a);
double apply_floor(const double *a);
double apply_gcd(const double *a);
double apply_hypotenuse(const double *a);
double apply_max(const double *a);
double apply_mean(const double *a);
double apply_min(const double *a);
double apply_percent(const double *a);
double apply_power(const double *a);
double apply_prime(const double *a);
double apply_remainder(const double *a);
double apply_root(const double *a);
double apply_sign(const double *a);
double apply_sine(const double *a);
double apply_square(const double *a);
double apply_triangle(const double *a);

const struct function functions[] = {
    {"abs", 1, apply_abs},
    {"celsius", 1, apply_celsius},
    {"choose", 2, apply_choose},
    {"cube", 1, apply_cube},
    {"digits", 1, apply_digits},
    {"exp", 1, apply_exp},
    {"factorial", 1, apply_factorial},
    {"fahrenheit", 1, apply_fahrenheit},
    {"fibonacci", 1, apply_fibonacci},
    {"floor", 1, apply_floor},
    {"gcd", 2, apply_gcd},
    {"hypotenuse", 2, apply_hypotenuse},
    {"max", 2, apply_max},
    {"mean", 2, apply_mean},
    {"min", 2, apply_min},
    {"percent", 2, apply_percent},
    {"power", 2, apply_power},
    {"prime", 1, apply_prime},
    {"remainder", 2, apply_remainder},
    {"root", 1, apply_root},
    {"sign", 1, apply_sign},
    {"sine", 1, apply_sine},
    {"square", 1, apply_square},
    {"triangle", 1, apply_triangle},
    {0, 0, 0},
};

const struct function *find_function(const char *name, int length)
{
    for (const struct function *function = functions; function->name; function++)
        if ((int)strlen(function->name) == length && !memcmp(function->name, name, length))
            return function;
    return 0;
}
