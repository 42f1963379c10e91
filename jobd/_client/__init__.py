"""The parts of jobd.client, which is the public name for them."""
