#include "reckon.h"

double reckon(const char *expression, const char **error)
{
    struct input input = {expression, 0};
    double value = read_sum(&input);
    skip_spaces(&input);
    if (!input.error && *input.at)
        input.error = "something is left over";
    *error = input.error;
    return value;
}
