"""Where captures go: each sink stores packs and says when they are safe."""
