// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import HTTP

/// How authentication filters refuse: the scheme that is asked for (RFC 9110 §11.6.1) and one of three answers. Why a credential is not
/// right is never said: wrong, unknown, expired and malformed are one answer.
struct AuthenticationRefusal: Sendable {
    private let challenge: [UInt8]
    private let invalidChallenge: [UInt8]
    private let scopeChallenge: [UInt8]

    /// - Parameter challenge: as `Bearer realm="holdfast"`; `invalid` and `scope` are added to it where the credential was not right or not enough.
    init(_ challenge: String, invalid: String = "", scope: String = "") {
        self.challenge = Array(challenge.utf8)
        invalidChallenge = Array((challenge + invalid).utf8)
        scopeChallenge = Array((challenge + scope).utf8)
    }

    /// There is no credential.
    var missing: FilterStep { refuse(.authMissing, challenge) }
    /// There is one that does not count.
    var invalid: FilterStep { refuse(.authInvalid, invalidChallenge) }
    /// It counts, but not for this.
    var forbidden: FilterStep { refuse(.authForbidden, scopeChallenge) }

    private func refuse(_ reason: Reason, _ challenge: [UInt8]) -> FilterStep {
        var refusal = FilterRefusal(reason)
        if !challenge.isEmpty { refusal.fields = [("www-authenticate", challenge)] }
        return .refuse(refusal)
    }

    /// Whoever knows is not to be had. Never lets anybody pass.
    static func unavailable(retryAfterNanoseconds: Int64? = nil) -> FilterStep {
        .refuse(FilterRefusal(.authUnavailable, retryAfterNanoseconds: retryAfterNanoseconds))
    }
}

extension FilterPass {
    /// Notes who it is, and tells the upstream in `field`, from which what the client sent was taken before.
    func identify(as name: [UInt8], telling field: [UInt8]?) {
        consumer = Consumer(name: name)
        if let field { tell(field, name) }
    }

    /// Tells the upstream something in a field that no client can send: once, whatever an earlier filter said.
    func tell(_ field: [UInt8], _ value: [UInt8]) {
        head.fields.removeAll(named: field)
        head.fields.append(name: field, value: value)
    }
}

extension FieldSection {
    /// What the only field of a name holds.
    enum Single {
        case none
        case one(Int)
        /// Two of them: upstream and gateway could each take another.
        case several
    }

    func single(named name: [UInt8]) -> Single {
        var found: Int?
        for i in 0..<count where isLive(i, named: name.span) {
            if found != nil { return .several }
            found = i
        }
        return found.map { .one($0) } ?? .none
    }
}
