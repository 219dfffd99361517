#include "reckon.h"

double read_sum(struct input *input)
{
    double value = read_term(input);
    while (!input->error) {
        if (accept(input, '+'))
            value += read_term(input);
        else if (accept(input, '-'))
            value -= read_term(input);
        else
            break;
    }
    return value;
}
