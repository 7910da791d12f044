"""EAP methods. Each is started, fed what the peer answers, and told the decision once the peer is proven."""
