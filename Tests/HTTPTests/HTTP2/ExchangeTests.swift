// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import HTTP

/// Whole exchanges, a client session to a server session.
@Suite struct HTTP2ExchangeTests {
    @Test func getAndItsAnswer() throws {
        let wire = Wire()
        wire.server.onEnd = { wire.server.respond($0, 200, [("content-type", "text/plain")], body: "hello") }
        let stream = try #require(wire.client.open("GET", "/a/b?x=1", [("accept", "*/*")]))
        wire.pump()
        #expect(
            wire.server.streams[0].log == """
                head GET https a.example /a/b?x=1 none [accept: */*] END
                closed NO_ERROR

                """)
        #expect(
            stream.log == """
                head 200 stream [content-type: text/plain]
                end 5
                closed NO_ERROR

                """)
        #expect(stream.text == "hello")
        #expect(wire.server.session.openStreams == 0)
        #expect(wire.server.session.activeStreamCount == 0)
        #expect(wire.client.session.openStreams == 0)
    }
}
