"""How a new host gets its identity: by a token of few uses, and from then on by the certificate that it has."""
