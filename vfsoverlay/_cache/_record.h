/* One record of a small object, as records.py packs it: what its data file looked like when it was complete. */

#ifndef VFSOVERLAY_RECORD_H
#define VFSOVERLAY_RECORD_H

#include <stdint.h>

#define DIGEST_SIZE 20
#define BOOT_SIZE 16

typedef struct __attribute__((packed)) {
    unsigned char digest[DIGEST_SIZE];
    int64_t size, mtime_ns, ctime_ns;
    uint32_t checksum;
    unsigned char boot[BOOT_SIZE], unused[4];
    uint32_t own; /* of all before it */
} Record;

#endif
