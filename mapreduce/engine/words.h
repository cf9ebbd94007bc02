/* Cuts text into words with vector instructions: what mr_split_words() is. Pure. */
#ifndef MAPREDUCE_ENGINE_WORDS_H
#define MAPREDUCE_ENGINE_WORDS_H

#include <stddef.h>

#include "trireme/mapreduce.h"

/* As mr_split_words() in the public header. Words are divided by the bytes 9 to 13 and 32. */
size_t words_split(struct mr_span *text, struct mr_span *words, size_t words_max);

#endif
