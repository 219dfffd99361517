#include "reckon.h"

#include <ctype.h>

double read_factor(struct input *input)
{
    if (accept(input, '-'))
        return -read_factor(input);
    if (accept(input, '(')) {
        double value = read_sum(input);
        if (!input->error && !accept(input, ')'))
            input->error = "`)` is missing";
        return value;
    }
    if (isalpha((unsigned char)*input->at))
        return read_call(input);
    return read_number(input);
}
