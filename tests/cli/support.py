"""What the tests of the command line share."""

#: What `models card` is told, and what the card then says.
SAID = {
    "--range=1": ("range", 1.0),
    "--mean=0.1,0.2,0.3": ("mean", (0.1, 0.2, 0.3)),
    "--std=1,2,4": ("std", (1.0, 2.0, 4.0)),
    "--color=BGR": ("color", "BGR"),
    "--size=6,4": ("size", (6, 4)),
    "--resize=shorter": ("resize", "shorter"),
    "--resize-to=10": ("resize_to", 10),
    "--interpolation=lanczos": ("interpolation", "lanczos"),
    "--layer=map": ("layer", "map"),
    "--pool=max": ("pool", "max"),
    "--name=oven": ("name", "oven"),
    "--license=MIT": ("license", "MIT"),
    "--source=the oven": ("source", "the oven"),
    "--description=x y": ("description", "x y"),
}


def lines(capsys):
    return capsys.readouterr().out.splitlines()
