/* SHA-256 through libcrypto's EVP; see digest.h. The algorithm is fetched once: an implicit fetch
 * in every call costs more than hashing a caption. Hashing cannot fail once it is fetched; a
 * libcrypto without SHA-256 is a broken machine, and there is nothing to go on with: abort.
 */
#include "store/digest.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static EVP_MD *sha256;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fetch(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
}

static const EVP_MD *algorithm(void)
{
    pthread_once(&once, fetch);
    if (!sha256) abort();
    return sha256;
}

void digest_of(const void *bytes, size_t n, uint8_t out[DIGEST_BYTES])
{
    if (!EVP_Digest(n ? bytes : "", n, out, NULL, algorithm(), NULL)) abort();
}

uint64_t digest_short(const void *bytes, size_t n)
{
    uint8_t d[DIGEST_BYTES];
    digest_of(bytes, n, d);
    uint64_t x = 0;
    for (int i = 7; i >= 0; i--) x = x << 8 | d[i];
    return x;
}

void digest_to_hex(const uint8_t digest[DIGEST_BYTES], char hex[DIGEST_HEX])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < DIGEST_BYTES; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[2 * DIGEST_BYTES] = 0;
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

int digest_from_hex(const char *hex, uint8_t digest[DIGEST_BYTES], struct error *err)
{
    uint8_t d[DIGEST_BYTES];
    bool good = strnlen(hex, DIGEST_HEX) == 2 * DIGEST_BYTES;
    for (int i = 0; good && i < DIGEST_BYTES; i++) {
        int high = nibble(hex[2 * i]), low = nibble(hex[2 * i + 1]);
        good = high >= 0 && low >= 0;
        d[i] = (uint8_t)(high << 4 | low);
    }
    if (!good)
        return error_set(err, ERR_DATA,
                         "\"%.80s\" is not a SHA-256 digest: 64 hex digits are expected", hex);
    memcpy(digest, d, sizeof d);
    return 0;
}

struct digest *digest_new(struct error *err)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx && EVP_DigestInit_ex(ctx, algorithm(), NULL)) return (struct digest *)ctx;
    EVP_MD_CTX_free(ctx);
    error_set(err, ERR_NOMEM, "out of memory for a digest");
    return NULL;
}

void digest_add(struct digest *d, const void *bytes, size_t n)
{
    if (n && !EVP_DigestUpdate((EVP_MD_CTX *)d, bytes, n)) abort();
}

void digest_finish(struct digest *d, uint8_t out[DIGEST_BYTES])
{
    if (!EVP_DigestFinal_ex((EVP_MD_CTX *)d, out, NULL)) abort();
    EVP_MD_CTX_free((EVP_MD_CTX *)d);
}
