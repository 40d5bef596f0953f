/* XXH64: the checksum of feature blocks, where SHA-256 would take longer than unpacking them.
 *
 *     uint64_t sum = checksum_of(record, n);
 *
 * The published algorithm with seed 0, the one whose low half ends a zstd frame (RFC 8878): any zstd
 * binding can compute it, as samples/read_features.py does. It finds damage, all of it but for one
 * chance in 2^64; it holds against no forger, and the 8 bytes of SHA-256 that stood here before held
 * against none either. Written out here because libzstd does not export its own. Pure; any thread.
 */
#ifndef STORE_CHECKSUM_H
#define STORE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

uint64_t checksum_of(const void *bytes, size_t n);

#endif
