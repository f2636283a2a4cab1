// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// Protocol names in the form ALPN sends them: each with its length before it (RFC 7301 §3.1). Immutable.
struct ALPNList: Sendable {
    let wire: [UInt8]

    init(_ protocols: [String]) throws(TLSConfigurationError) {
        var wire: [UInt8] = []
        for name in protocols {
            guard name == "h2" || name == "http/1.1" else {
                throw TLSConfigurationError("the application protocol \"\(name)\" is not known: possible are h2, http/1.1")
            }
            wire.append(UInt8(name.utf8.count))
            wire += Array(name.utf8)
        }
        self.wire = wire
    }
}
