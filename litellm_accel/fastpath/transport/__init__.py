"""How a request leaves and a reply comes in: on LiteLLM's own clients, cookies and connections."""
