/* Functions that invite mistakes do not compile here. Force-included into all of our code; see
 * git's banned.h for the idea. Use buf_printf(), snprintf() with a checked result, strtoull() by
 * parse helpers, clock.h and rng.h instead. */
#ifndef COMMON_BANNED_H
#define COMMON_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#pragma GCC poison strcpy strcat sprintf vsprintf strncpy strtok gmtime localtime ctime rand atoi

#endif
