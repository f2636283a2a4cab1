// Holdfast
// SPDX-License-Identifier: Apache-2.0

// OpenSSL for Swift: the headers, and inline functions in place of the function-like macros, which Swift does not import.
// Nothing here decides anything; a name `holdfast_x` stands for the macro or the few lines of C that Swift cannot write.
#pragma once
// RAND_METHOD is deprecated and is the only seam through which a simulation can seed one thread (design, section 2).
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

// MARK: BIO

static inline void holdfast_BIO_set_retry_read(BIO *bio) { BIO_set_retry_read(bio); }
static inline void holdfast_BIO_clear_retry_flags(BIO *bio) { BIO_clear_retry_flags(bio); }
/// The bytes of a memory BIO; valid until it changes.
static inline long holdfast_BIO_get_mem_data(BIO *bio, char **data) { return BIO_get_mem_data(bio, data); }

// MARK: SSL_CTX

static const uint64_t holdfast_SSL_OP_NO_TICKET = SSL_OP_NO_TICKET;
/// No renegotiation, no compression; our order of suites, but ChaCha20 for a client that puts it first (it has no AES
/// instructions).
static const uint64_t holdfast_SSL_OPTIONS =
    SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA;

static inline int holdfast_SSL_CTX_set_min_proto_version(SSL_CTX *ctx, int version) {
    return (int)SSL_CTX_set_min_proto_version(ctx, version);
}
static inline int holdfast_SSL_CTX_set_max_proto_version(SSL_CTX *ctx, int version) {
    return (int)SSL_CTX_set_max_proto_version(ctx, version);
}
static inline void holdfast_SSL_CTX_set_mode(SSL_CTX *ctx, long mode) { (void)SSL_CTX_set_mode(ctx, mode); }
static inline void holdfast_SSL_CTX_set_session_cache_mode(SSL_CTX *ctx, long mode) {
    (void)SSL_CTX_set_session_cache_mode(ctx, mode);
}
static inline int holdfast_SSL_CTX_set1_groups_list(SSL_CTX *ctx, const char *list) {
    return (int)SSL_CTX_set1_groups_list(ctx, list);
}
static inline int holdfast_SSL_CTX_set1_sigalgs_list(SSL_CTX *ctx, const char *list) {
    return (int)SSL_CTX_set1_sigalgs_list(ctx, list);
}
static inline void holdfast_SSL_CTX_set_servername_callback(SSL_CTX *ctx, int (*callback)(SSL *, int *, void *)) {
    (void)SSL_CTX_set_tlsext_servername_callback(ctx, callback);
}
static inline void holdfast_SSL_CTX_add0_client_CA(SSL_CTX *ctx, X509 *certificate) {
    (void)SSL_CTX_add_client_CA(ctx, certificate);
}

// MARK: SSL

static inline int holdfast_SSL_set_tlsext_host_name(SSL *ssl, const char *name) {
    return (int)SSL_set_tlsext_host_name(ssl, name);
}
/// The name of the group of the key exchange, or NULL.
static inline const char *holdfast_SSL_group_name(SSL *ssl) {
    int id = (int)SSL_get_negotiated_group(ssl);
    return id == NID_undef ? NULL : SSL_group_to_name(ssl, id);
}

// MARK: Certificates

static const unsigned long holdfast_XN_FLAG_RFC2253 = XN_FLAG_RFC2253;

static inline STACK_OF(X509) *holdfast_sk_X509_new(void) { return sk_X509_new_null(); }
static inline int holdfast_sk_X509_push(STACK_OF(X509) *stack, X509 *certificate) { return sk_X509_push(stack, certificate); }
static inline void holdfast_sk_X509_free(STACK_OF(X509) *stack) { sk_X509_free(stack); }

static inline int holdfast_GENERAL_NAMES_num(const GENERAL_NAMES *names) { return sk_GENERAL_NAME_num(names); }
/// The i-th alternative name's type (GEN_DNS, GEN_IPADD, …) and, for those two, its bytes.
static inline int holdfast_GENERAL_NAMES_get(const GENERAL_NAMES *names, int i, const unsigned char **bytes, int *length) {
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
    *bytes = NULL;
    *length = 0;
    if (name->type == GEN_DNS || name->type == GEN_IPADD) {
        const ASN1_STRING *text = name->type == GEN_DNS ? (const ASN1_STRING *)name->d.dNSName : (const ASN1_STRING *)name->d.iPAddress;
        *bytes = ASN1_STRING_get0_data(text);
        *length = ASN1_STRING_length(text);
    }
    return name->type;
}

/// Adds an extension written as in an OpenSSL configuration file.
static inline int holdfast_X509_add_extension(X509 *certificate, X509 *issuer, int nid, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    if (extension == NULL) return 0;
    int added = X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return added;
}

// MARK: Keys

/// Sets up a ticket's cipher (AES-256-CBC under key[0..32)) and its MAC (HMAC-SHA256 under key[32..64)), RFC 5077 §4.
static inline int holdfast_ticket_set_keys(
    EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, const EVP_CIPHER *algorithm, const unsigned char *key, const unsigned char *iv,
    int encrypting) {
    char digest[] = "SHA256";
    OSSL_PARAM params[3];
    params[0] = OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(key + 32), 32);
    params[1] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0);
    params[2] = OSSL_PARAM_construct_end();
    return EVP_MAC_CTX_set_params(mac, params) == 1 && EVP_CipherInit_ex(cipher, algorithm, NULL, key, iv, encrypting) == 1;
}

static inline EVP_PKEY *holdfast_EVP_EC_gen(const char *curve) { return EVP_EC_gen(curve); }
static inline EVP_PKEY *holdfast_EVP_RSA_gen(unsigned int bits) { return EVP_RSA_gen(bits); }
