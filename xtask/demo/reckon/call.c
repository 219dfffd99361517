#include "reckon.h"

#include <ctype.h>

double read_call(struct input *input)
{
    const char *name = input->at;
    while (isalnum((unsigned char)*input->at))
        input->at++;
    const struct function *function = find_function(name, (int)(input->at - name));
    if (!function) {
        input->error = "no such function";
        return 0;
    }
    double arguments[MOST_ARGUMENTS] = {0};
    int count = 0;
    if (!accept(input, '(')) {
        input->error = "`(` is missing";
        return 0;
    }
    do {
        if (count == function->arguments) {
            input->error = "too many arguments";
            return 0;
        }
        arguments[count++] = read_sum(input);
    } while (!input->error && accept(input, ','));
    if (!input->error && !accept(input, ')'))
        input->error = "`)` is missing";
    else if (!input->error && count < function->arguments)
        input->error = "too few arguments";
    return input->error ? 0 : function->apply(arguments);
}
