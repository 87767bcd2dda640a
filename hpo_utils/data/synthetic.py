"""The demo data: a forward model of a solid–gas–liquid riser measured by ultrasound.

A pulsed transducer sends pulses across the pipe. Each pulse gives one row of echoes over depth, so
one sample is an image of slow time (pulses, axis H) against fast time (depth, axis W). Two
transducers (channels 0 and 2) are ``SENSOR_DISTANCE`` apart along the flow, so the same bubbles and
grains pass one after the other; channels 1 and 3 are a faulty amplifier that saturates.

The flow states follow the drift-flux model of Zuber and Findlay, J. Heat Transfer 87 (1965),
453-468: the gas moves at ``C0 * j + V_GJ`` with j the volumetric flux of the mixture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

TARGET_NAMES = (
    "Solid Velocity",
    "Gas Velocity",
    "Liquid Velocity",
    "Solid Volume Fraction",
    "Gas Volume Fraction",
    "Liquid Volume Fraction",
)
TARGET_UNITS = ("m/s", "m/s", "m/s", "-", "-", "-")
VELOCITIES, FRACTIONS = TARGET_NAMES[:3], TARGET_NAMES[3:]
CHANNEL_NAMES = ("transducer A", "amplifier A", "transducer B", "amplifier B")

C0 = 1.2  # distribution parameter of the drift-flux model, Zuber & Findlay 1965
V_GJ = 0.35  # drift velocity of the gas, m/s, churn flow in water, Zuber & Findlay 1965
PULSE_INTERVAL = 1.25e-3  # s between two pulses
SENSOR_DISTANCE = 0.02  # m between the two transducers
BUBBLE_LENGTH = 6e-3  # m along the flow
GRAIN_LENGTH = 3e-3  # m along the flow
BUBBLES_PER_METRE = 220.0  # bubbles in one metre of flow per unit of gas fraction
GRAINS_PER_METRE = 6000.0  # grains in one metre of flow per unit of solid fraction
SPECKLE_LENGTH = 5e-3  # m that the liquid moves until its speckle pattern has changed
SPECKLE = 0.2  # standard deviation of the liquid speckle, in amplitudes of a bubble echo
NOISE = 0.08  # standard deviation of the receiver noise, in the same unit
SATURATION = 1e6  # reading of the faulty amplifier at its rail
TWO_PHASE_SHARE = 0.15  # share of samples without solids


@dataclass(frozen=True)
class FlowStates:
    """Velocities (m/s) and volume fractions of the three phases, each of shape (n_samples,)."""

    u_s: NDArray[np.float64]
    u_g: NDArray[np.float64]
    u_l: NDArray[np.float64]
    eps_s: NDArray[np.float64]
    eps_g: NDArray[np.float64]
    eps_l: NDArray[np.float64]

    def as_targets(self) -> FloatArray:
        """Return the targets of shape (n_samples, 6) in the order of ``TARGET_NAMES``."""
        columns = (self.u_s, self.u_g, self.u_l, self.eps_s, self.eps_g, self.eps_l)
        return np.stack(columns, axis=1).astype(np.float32)


def sample_flow_states(n_samples: int, rng: np.random.Generator) -> FlowStates:
    """Draw flow states whose volume fractions sum to one.

    Superficial velocities are drawn independently; gas follows the drift-flux model, solids move
    slower than the mixture by a slip that depends on the unknown grain size, and liquid fills the
    rest. A share of the samples is two-phase: their solid velocity and fraction are zero.
    """
    j_g = rng.uniform(0.1, 2.0, n_samples)
    j_l = rng.uniform(0.3, 1.5, n_samples)
    j_s = rng.uniform(0.005, 0.06, n_samples)
    j_s[rng.random(n_samples) < TWO_PHASE_SHARE] = 0.0
    slip = rng.uniform(0.05, 0.25, n_samples)
    j = j_g + j_l + j_s
    u_g = C0 * j + V_GJ
    u_s = np.where(j_s > 0, j - slip, 0.0)
    eps_g = j_g / u_g
    eps_s = np.divide(j_s, u_s, out=np.zeros(n_samples), where=j_s > 0)
    eps_l = 1.0 - eps_g - eps_s
    return FlowStates(u_s, u_g, j_l / eps_l, eps_s, eps_g, eps_l)


def make_demo_data(
    n_samples: int, n_pulses: int, n_depths: int, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Simulate the demo data.

    Parameters
    ----------
    n_samples, n_pulses, n_depths
        Numbers of samples, pulses (axis H) and echo depths (axis W).
    seed
        Seed of the random generator; the same seed gives the same arrays.

    Returns
    -------
    x : float32 array of shape (n_samples, 4, n_pulses, n_depths)
        Echo amplitudes in arbitrary units; channels 1 and 3 carry saturated readings of ±1e6.
    t : float32 array of shape (n_samples, 6)
        Velocities in m/s and volume fractions, ordered as ``TARGET_NAMES``.
    """
    rng = np.random.default_rng(seed)
    states = sample_flow_states(n_samples, rng)
    x = np.empty((n_samples, 4, n_pulses, n_depths), dtype=np.float32)
    for i in range(n_samples):
        x[i, 0], x[i, 2] = _transducer_pair(states, i, n_pulses, n_depths, rng)
        x[i, 1] = _faulty_amplifier(n_pulses, n_depths, rng)
        x[i, 3] = _faulty_amplifier(n_pulses, n_depths, rng)
    return x, states.as_targets()


def _transducer_pair(
    states: FlowStates, i: int, n_pulses: int, n_depths: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return echo images (n_pulses, n_depths) of sample ``i``, upstream transducer first."""
    bubbles = _passing_reflectors(
        states.u_g[i], states.eps_g[i] * BUBBLES_PER_METRE, BUBBLE_LENGTH, 0.045,
        (0.7, 1.3), n_pulses, n_depths, rng,
    )  # fmt: skip
    grains = _passing_reflectors(
        states.u_s[i], states.eps_s[i] * GRAINS_PER_METRE, GRAIN_LENGTH, 0.012,
        (0.15, 0.4), n_pulses, n_depths, rng,
    )  # fmt: skip
    depth = np.linspace(0.0, 1.0, n_depths)
    # gas shadows the region behind it, so the far wall fades as the gas fraction grows
    far_wall = 1.5 * np.exp(-2.0 * states.eps_g[i])
    walls = 1.5 * np.exp(-(((depth - 0.03) / 0.012) ** 2))
    walls = walls + far_wall * np.exp(-(((depth - 0.97) / 0.012) ** 2))
    images = []
    for bubble, grain in zip(bubbles, grains, strict=True):
        speckle = _liquid_speckle(states.u_l[i], n_pulses, n_depths, rng)
        noise = rng.normal(0.0, NOISE, (n_pulses, n_depths))
        images.append((bubble + grain + SPECKLE * speckle + walls + noise).astype(np.float32))
    return images[0], images[1]


def _passing_reflectors(
    velocity: float,
    per_metre: float,
    length: float,
    width: float,
    amplitudes: tuple[float, float],
    n_pulses: int,
    n_depths: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return images of the same reflectors at both transducers, delayed by distance/velocity.

    The second image is the delayed one. ``length`` (m, along the flow) sets how many pulses one
    reflector stays in the beam, ``width`` (share of the depth) sets the width of its echo. The
    number of reflectors is Poisson distributed; its mean is ``per_metre`` times the length of flow
    that passes either transducer during the record.
    """
    empty = np.zeros((n_pulses, n_depths))
    if velocity <= 0.0 or per_metre <= 0.0:
        return empty, empty.copy()
    delay = SENSOR_DISTANCE / velocity / PULSE_INTERVAL  # pulses
    dwell = length / velocity / PULSE_INTERVAL  # pulses
    passed = velocity * PULSE_INTERVAL * (n_pulses + delay)  # m
    n = rng.poisson(per_metre * passed)
    arrival = rng.uniform(-delay, n_pulses, n)
    depths = rng.uniform(0.08, 0.92, n)
    amplitude = rng.uniform(*amplitudes, n)
    in_depth = np.exp(-(((np.linspace(0.0, 1.0, n_depths) - depths[:, None]) / width) ** 2))
    pulses = np.arange(n_pulses)
    images = []
    for shift in (0.0, delay):
        in_time = np.exp(-(((pulses - arrival[:, None] - shift) / max(dwell / 2, 0.5)) ** 2))
        images.append((amplitude[:, None] * in_time).T @ in_depth)  # (H, n) @ (n, W) -> (H, W)
    return images[0], images[1]


def _liquid_speckle(
    velocity: float, n_pulses: int, n_depths: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return speckle (n_pulses, n_depths) of unit variance; it changes faster in faster liquid."""
    keep = np.exp(-velocity * PULSE_INTERVAL / SPECKLE_LENGTH)  # correlation of two pulses
    fresh = rng.normal(0.0, 1.0, (n_pulses, n_depths))
    speckle = np.empty_like(fresh)
    speckle[0] = fresh[0]
    for pulse in range(1, n_pulses):
        speckle[pulse] = keep * speckle[pulse - 1] + np.sqrt(1.0 - keep**2) * fresh[pulse]
    return speckle


def _faulty_amplifier(n_pulses: int, n_depths: int, rng: np.random.Generator) -> FloatArray:
    """Return noise (n_pulses, n_depths) in which one reading in fifty is stuck at a rail, ±1e6."""
    image = rng.normal(0.0, 1.0, (n_pulses, n_depths)).astype(np.float32)
    stuck = rng.random((n_pulses, n_depths)) < 0.02
    image[stuck] = SATURATION * rng.choice((-1.0, 1.0), int(stuck.sum()))
    return image
