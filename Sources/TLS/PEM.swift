// Holdfast
// SPDX-License-Identifier: Apache-2.0

import COpenSSL
import Glibc

/// Owns one reference to an `X509`. Sendable: it is not changed once parsed, and its count is atomic.
@safe final class Certificate: @unchecked Sendable {
    let raw: OpaquePointer
    /// Takes over one reference.
    init(owning raw: OpaquePointer) { unsafe self.raw = raw }
    deinit { unsafe X509_free(raw) }
}

/// Owns one reference to an `EVP_PKEY`. Sendable for the same reason.
@safe final class PrivateKey: @unchecked Sendable {
    let raw: OpaquePointer
    init(owning raw: OpaquePointer) { unsafe self.raw = raw }
    deinit { unsafe EVP_PKEY_free(raw) }
}

/// A certificate chain that fits its key.
struct Identity: Sendable {
    let source: CertificateSource
    /// Leaf first; never empty.
    let chain: [Certificate]
    let leaf: Certificate
    let key: PrivateKey

    init(_ source: CertificateSource) throws(TLSConfigurationError) {
        self.source = source
        chain = try PEM.certificates(from: source.chain)
        leaf = chain[0]
        key = try PEM.privateKey(from: source.key)
        ErrorQueue.clear()
        guard unsafe X509_check_private_key(leaf.raw, key.raw) == 1 else {
            ErrorQueue.clear()
            throw TLSConfigurationError(
                file: source.key.name,
                "\(source.key.name): the private key does not belong to the first certificate in \(source.chain.name)")
        }
    }
}

/// Reads PEM files and text into OpenSSL's objects, with errors that name the file.
enum PEM {
    /// Larger files are not what anyone meant: the system's whole bundle of authorities has a quarter of it.
    static let fileLimitBytes = 4 << 20

    /// All certificates in `source`, at least one.
    static func certificates(from source: PEMSource) throws(TLSConfigurationError) -> [Certificate] {
        let bytes = try read(source)
        var found: [Certificate] = []
        let complete = unsafe withBIO(over: bytes) { bio in
            while let raw = unsafe PEM_read_bio_X509(bio, nil, PEM.noPassphrase, nil) {
                unsafe found.append(Certificate(owning: raw))
            }
            let (library, reason) = ErrorQueue.last
            return library == ERR_LIB_PEM && reason == PEM_R_NO_START_LINE  // the end of the text, in OpenSSL's words
        }
        defer { ErrorQueue.clear() }
        if !complete {
            throw TLSConfigurationError(
                file: source.name, "\(source.name): certificate \(found.count + 1) is damaged: \(ErrorQueue.take())")
        }
        if found.isEmpty {
            throw TLSConfigurationError(file: source.name, "\(source.name): there is no certificate in PEM form in it")
        }
        return found
    }

    static func privateKey(from source: PEMSource) throws(TLSConfigurationError) -> PrivateKey {
        let bytes = try read(source)
        let raw = unsafe withBIO(over: bytes) { bio in unsafe PEM_read_bio_PrivateKey(bio, nil, PEM.noPassphrase, nil) }
        defer { ErrorQueue.clear() }
        if let raw = unsafe raw { return unsafe PrivateKey(owning: raw) }
        if String(decoding: bytes, as: UTF8.self).contains("ENCRYPTED") {
            throw TLSConfigurationError(
                file: source.name, "\(source.name): the private key is encrypted with a passphrase, which is not supported")
        }
        throw TLSConfigurationError(file: source.name, "\(source.name): there is no usable private key in PEM form in it")
    }

    /// OpenSSL would ask on the terminal.
    private static let noPassphrase:
        @convention(c) (UnsafeMutablePointer<CChar>?, Int32, Int32, UnsafeMutableRawPointer?) -> Int32 = {
            _, _, _, _ in 0
        }

    private static func withBIO<Result>(over bytes: [UInt8], _ body: (OpaquePointer?) -> Result) -> Result {
        ErrorQueue.clear()
        return unsafe bytes.withUnsafeBytes { memory in
            let bio = unsafe BIO_new_mem_buf(memory.baseAddress, Int32(clamping: memory.count))
            defer { unsafe BIO_free_all(bio) }
            return unsafe body(bio)
        }
    }

    private static func read(_ source: PEMSource) throws(TLSConfigurationError) -> [UInt8] {
        let path: String
        switch source {
        case .bytes(let bytes, _): return bytes
        case .file(let name): path = name
        }
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw unreadable(path, errno) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16_384)
        while true {
            let n = unsafe chunk.withUnsafeMutableBytes { unsafe Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if n < 0 && errno == EINTR { continue }
            guard n >= 0 else { throw unreadable(path, errno) }
            if n == 0 { return bytes }
            bytes.append(contentsOf: chunk[..<n])
            guard bytes.count <= fileLimitBytes else {
                throw TLSConfigurationError(file: path, "\(path): larger than \(fileLimitBytes >> 20) MiB, so not a PEM file")
            }
        }
    }

    private static func unreadable(_ path: String, _ code: Int32) -> TLSConfigurationError {
        unsafe TLSConfigurationError(file: path, "\(path): cannot be read: \(String(cString: strerror(code)))")
    }
}
