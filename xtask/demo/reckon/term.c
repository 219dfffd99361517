#include "reckon.h"

double read_term(struct input *input)
{
    double value = read_factor(input);
    while (!input->error) {
        if (accept(input, '*'))
            value *= read_factor(input);
        else if (accept(input, '/'))
            value /= read_factor(input);
        else
            break;
    }
    return value;
}
