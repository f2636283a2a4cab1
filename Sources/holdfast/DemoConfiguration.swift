// Holdfast
// SPDX-License-Identifier: Apache-2.0

/// The configuration that the demo runs by, as a user would write it.
enum DemoConfiguration {
    static func text(ports: DemoPorts, services: [(name: String, address: String)]) -> String {
        let upstreams = services.map { name, address in
            """
              \(name):
                endpoints: ["\(address)"]
                guard: *quick
            """
        }
        let examples = """
              # One document of three services: docs/filters/aggregate.md
              - match: { path: "/dashboard/{user}", methods: [GET, HEAD] }
                to: users
                filters:
                  - aggregate:
                      timeout: 2s
                      parts:
                        user: { to: users, path: "/users/{param.user}", timeout: 1s }
                        orders: { to: orders, path: "/orders?user={param.user}", timeout: 1s, default: [] }
                        products:
                          to: products
                          path: "/products?ids={part.orders[*].product}"
                          timeout: 1s
                          required: false
                          join: { into: orders, on: product, key: id, as: details }
              # An old service with other names for the same things: docs/filters/transform.md
              - match: { path: /shop/orders, methods: [POST] }
                to: legacy
                rewrite: /legacy
                filters:
                  - transform:
                      request:
                        fields:
                          CUST_NO: { from: customer.id, as: string, required: true }
                          CUST_NAME: { from: customer.name, default: unknown }
                          CURRENCY: { value: EUR }
                          POSITIONS: { each: items, fields: { ART_NO: { from: product, as: string }, QTY: quantity } }
                          REMARK: note
                      response:
                        fields:
                          id: { from: ORD_NO, as: integer }
                          status: ORD_STATUS
                          customer.id: { from: CUST_NO, as: integer }
                          items: { each: POSITIONS, fields: { product: { from: ART_NO, as: integer }, quantity: QTY } }
            """
        let routes = services.map { name, _ in "  - { match: { host: [localhost, 127.0.0.1], path: /\(name)/* }, to: \(name) }" }
        return """
            # What `holdfast demo` runs by. After a change: kill -HUP its process.
            # Limits that suit a demo: what you try should happen while you look.
            x-quick: &quick
              timeouts: { per_try: 1s, total: 3s }
              breaker: { minimum_calls: 10, failure_rate: 50%, open_for: 5s, ramp: 2s }

            admin: 127.0.0.1:\(ports.admin)
            access_log: { path: access.log }

            listeners:
              - name: public
                address: 127.0.0.1:\(ports.tls)
                tls: { certificates: [{ chain: edge.pem, key: edge.key }], protocols: [h2, http/1.1] }
              - name: clear
                address: 127.0.0.1:\(ports.clear)

            upstreams:
            \(upstreams.joined(separator: "\n"))

            routes:
            \(routes.joined(separator: "\n"))
            \(examples)
              - { match: { path: / }, answer: { status: 200, body: "users, orders and products are here\\n" } }
              - { match: { path: /people/* }, redirect: { to: "/users/{rest}" } }

            """
    }
}
