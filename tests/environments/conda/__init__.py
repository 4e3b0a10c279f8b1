"""A stand-in for pixi-pack and pixi-unpack, with real conda packages in a channel on this machine."""
