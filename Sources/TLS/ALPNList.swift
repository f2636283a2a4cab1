// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Protocol names in the form ALPN sends them: each with its length before it (RFC 7301 §3.1). Immutable.
struct ALPNList: Sendable {
    let wire: [UInt8]

    /// Any names of 1 to 255 bytes.
    init(_ protocols: [String]) throws(TLSConfigurationError) {
        var wire: [UInt8] = []
        for name in protocols {
            guard (1...255).contains(name.utf8.count) else {
                throw TLSConfigurationError("the application protocol \"\(name)\" is not between 1 and 255 bytes long")
            }
            wire.append(UInt8(name.utf8.count))
            wire += Array(name.utf8)
        }
        self.wire = wire
    }

    /// What a listener can serve.
    init(served protocols: [String]) throws(TLSConfigurationError) {
        for name in protocols where name != "h2" && name != "http/1.1" {
            throw TLSConfigurationError("the application protocol \"\(name)\" is not known: possible are h2, http/1.1")
        }
        // Who offers only HTTP/1.0 (`curl --http1.0`) is served by the same codec, and last.
        try self.init(protocols.contains("http/1.1") ? protocols + ["http/1.0"] : protocols)
    }
}
