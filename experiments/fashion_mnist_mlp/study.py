"""Fashion-MNIST with two hidden layers, where later work compares itself."""

from experiments.classification import variant
from experiments.images import ONCE, RELU, Settings
from experiments.study import Plan, Study

SETTINGS = Settings(
    data="fashion_mnist", hidden="400-400", validation=5000, num_steps=10, epochs=100
)

STUDY = Study(
    name="fashion_mnist_mlp",
    claim="784-400-400-10 reaches 90 % on Fashion-MNIST (later works: 89.75 to 90.03 %).",
    variants={
        "stbp": variant(
            "LIF, Bernoulli input", SETTINGS, cpu=Plan(3, ("epochs=15",)), full=Plan(3)
        ),
        "twin": variant(
            "ReLU in place of LIF",
            SETTINGS,
            cpu=Plan(3, ("epochs=15",)),
            full=Plan(3),
            coding=ONCE,
            units=RELU,
        ),
    },
)
