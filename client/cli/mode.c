/* See mode.h. */
#include "client/cli/mode.h"

#include <string.h>

enum { ALL = 0777, STICKY = 01000 };

static bool octal(const char *text, uint32_t *ret)
{
    uint32_t value = 0;
    for (const char *at = text; *at; at++) {
        if (*at < '0' || *at > '7' || value > 07777 / 8) {
            return false;
        }
        value = value * 8 + (uint32_t)(*at - '0');
    }
    *ret = value;
    return text[0] != '\0';
}

/* Which of the three groups of bits; all of them if none is named. */
static uint32_t who(const char **at)
{
    uint32_t mask = 0;
    for (; **at && strchr("ugoa", **at); (*at)++) {
        mask |= **at == 'u' ? 0700 : **at == 'g' ? 0070 : **at == 'o' ? 0007 : (uint32_t)ALL;
    }
    return mask ? mask : (uint32_t)ALL;
}

/* The bits in all three groups. False: not a permission. */
static bool bits_of(const char **at, bool executable, uint32_t *ret)
{
    *ret = 0;
    for (; **at && **at != ','; (*at)++) {
        switch (**at) {
        case 'r':
            *ret |= 0444;
            break;
        case 'w':
            *ret |= 0222;
            break;
        case 'x':
            *ret |= 0111;
            break;
        case 'X':
            *ret |= executable ? 0111 : 0;
            break;
        case 't':
            *ret |= STICKY;
            break;
        default:
            return false;
        }
    }
    return true;
}

int mode_apply(const char *text, uint32_t mode, bool directory, uint32_t *ret)
{
    if (octal(text, ret)) {
        return 0;
    }
    const char *at = text;
    do {
        uint32_t bits, mask = who(&at);
        char how = *at;
        if (how != '+' && how != '-' && how != '=') {
            return ERR_INVALID;
        }
        at++;
        if (!bits_of(&at, directory || (mode & 0111), &bits)) {
            return ERR_INVALID;
        }
        uint32_t chosen = (bits & mask) | (bits & STICKY);
        mode = how == '+' ? mode | chosen : how == '-' ? mode & ~chosen : (mode & ~mask) | chosen;
    } while (*at++ == ',');
    *ret = mode;
    return 0;
}
