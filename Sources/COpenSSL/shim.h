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
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <openssl/params.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
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
/// The i-th alternative name's type (GEN_DNS, GEN_IPADD, GEN_URI, …) and, for those three, its bytes.
static inline int holdfast_GENERAL_NAMES_get(const GENERAL_NAMES *names, int i, const unsigned char **bytes, int *length) {
    const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
    *bytes = NULL;
    *length = 0;
    if (name->type == GEN_DNS || name->type == GEN_IPADD || name->type == GEN_URI) {
        const ASN1_STRING *text = name->type == GEN_DNS   ? (const ASN1_STRING *)name->d.dNSName
                                  : name->type == GEN_URI ? (const ASN1_STRING *)name->d.uniformResourceIdentifier
                                                          : (const ASN1_STRING *)name->d.iPAddress;
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

// MARK: Signatures of tokens

/// The digest of so many bits.
static inline const EVP_MD *holdfast_digest(int bits) {
    return bits == 256 ? EVP_sha256() : bits == 384 ? EVP_sha384() : bits == 512 ? EVP_sha512() : NULL;
}

static inline EVP_PKEY *holdfast_public_key(const char *kind, OSSL_PARAM *params) {
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, kind, NULL);
    if (context != NULL && params != NULL && EVP_PKEY_fromdata_init(context) == 1 &&
        EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params) != 1) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    EVP_PKEY_CTX_free(context);
    return key;
}

/// An RSA key of its modulus and exponent, or NULL.
static inline EVP_PKEY *holdfast_rsa_public_key(const unsigned char *n, size_t nlen, const unsigned char *e, size_t elen) {
    EVP_PKEY *key = NULL;
    BIGNUM *modulus = BN_bin2bn(n, (int)nlen, NULL);
    BIGNUM *exponent = BN_bin2bn(e, (int)elen, NULL);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    if (modulus != NULL && exponent != NULL && build != NULL && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, exponent) == 1) {
        OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
        key = holdfast_public_key("RSA", params);
        OSSL_PARAM_free(params);
    }
    OSSL_PARAM_BLD_free(build);
    BN_free(exponent);
    BN_free(modulus);
    return key;
}

/// An EC key of its curve and uncompressed point, or NULL, also where the point is not on the curve.
static inline EVP_PKEY *holdfast_ec_public_key(const char *curve, const unsigned char *point, size_t length) {
    OSSL_PARAM params[3];
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)curve, 0);
    params[1] = OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)point, length);
    params[2] = OSSL_PARAM_construct_end();
    EVP_PKEY *key = holdfast_public_key("EC", params);
    if (key == NULL) return NULL;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    int valid = context != NULL && EVP_PKEY_public_check(context) == 1;
    EVP_PKEY_CTX_free(context);
    if (valid) return key;
    EVP_PKEY_free(key);
    return NULL;
}

/// The public key in a text in PEM form, or NULL.
static inline EVP_PKEY *holdfast_pem_public_key(const unsigned char *text, int length) {
    BIO *bio = BIO_new_mem_buf(text, length);
    if (bio == NULL) return NULL;
    EVP_PKEY *key = PEM_read_bio_PUBKEY(bio, NULL, NULL, (void *)"");
    BIO_free(bio);
    return key;
}

/// The NID of an EC key's curve, or NID_undef.
static inline int holdfast_ec_group_nid(const EVP_PKEY *key) {
    char name[64];
    size_t length = 0;
    return EVP_PKEY_get_group_name(key, name, sizeof name, &length) == 1 ? OBJ_txt2nid(name) : NID_undef;
}

/// 1 if the signature is right. `bits` of the digest, 0 where the key's algorithm hashes by itself; PSS with MGF1 of the same digest
/// and a salt as long as it (RFC 7518 §3.5).
static inline int holdfast_verify(
    EVP_PKEY *key, int bits, int pss, const unsigned char *signature, size_t signature_length, const unsigned char *message,
    size_t message_length) {
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context == NULL) return 0;
    EVP_PKEY_CTX *parameters = NULL;
    int valid = EVP_DigestVerifyInit(context, &parameters, holdfast_digest(bits), NULL, key) == 1;
    if (valid && pss)
        valid = EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) == 1 &&
                EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST) == 1;
    if (valid) valid = EVP_DigestVerify(context, signature, signature_length, message, message_length) == 1;
    EVP_MD_CTX_free(context);
    return valid;
}

/// The HMAC of a message into `out` of 64 bytes; returns its length, 0 on failure.
static inline unsigned int holdfast_hmac(
    int bits, const unsigned char *key, size_t key_length, const unsigned char *message, size_t message_length, unsigned char *out) {
    unsigned int length = 0;
    const EVP_MD *digest = holdfast_digest(bits);
    if (digest == NULL || HMAC(digest, key, (int)key_length, message, message_length, out, &length) == NULL) return 0;
    return length;
}
