/* What the parts of reckon know of each other. */
#ifndef RECKON_H
#define RECKON_H

enum { MOST_ARGUMENTS = 8 };

/* A function that expressions may call, and how many arguments it takes. */
struct function {
    const char *name;
    int arguments;
    double (*apply)(const double *arguments);
};

/* The functions, ended by one without a name. */
extern const struct function functions[];

const struct function *find_function(const char *name, int length);

/* What the reader of an expression has before it. */
struct input {
    const char *at;
    const char *error;
};

void skip_spaces(struct input *input);
int accept(struct input *input, char wanted);
double read_number(struct input *input);
double read_call(struct input *input);
double read_factor(struct input *input);
double read_term(struct input *input);
double read_sum(struct input *input);

/* The value of a whole expression, or an error in *error. */
double reckon(const char *expression, const char **error);

void print_value(double value);

#endif
