"""Small Gymnasium environments whose every number is known, registered under the name of this module."""

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space


class Playground(VectorEnv):
    """N copies of a task in step, with NEXT_STEP autoreset; a subclass says where it begins, how it moves, what is seen.

    `begin(count)` gives states [count], `move(state, action)` gives (state, reward, terminated, truncated), all [N].
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012
    seen = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    actions = spaces.Discrete(2)

    def __init__(self, num_envs, max_episode_steps=None):
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = self.seen, self.actions
        self.observation_space, self.action_space = batch_space(self.seen, num_envs), batch_space(self.actions, num_envs)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state = self.begin(self.num_envs)
        self.ended = np.zeros(self.num_envs, dtype=bool)
        return self.see(self.state), {}

    def step(self, actions):
        fresh = self.ended
        state, reward, over, cut = self.move(self.state, actions)
        if fresh.any():
            state[fresh] = self.begin(int(fresh.sum()))
        self.state, self.ended = state, (over | cut) & ~fresh
        return self.see(state), np.where(fresh, 0.0, reward), over & ~fresh, cut & ~fresh, {}

    def see(self, state):
        return state[:, None].astype(np.float32)


class Corridor(Playground):
    """The short corridor of Sutton & Barto, example 13.1: left and right are swapped in the middle of three states.

    Every step pays −1. Left in the first state stays. All states look alike: the observation is always 1.
    """

    seen = spaces.Box(0.0, 1.0, (1,), np.float32)

    def begin(self, count):
        return np.zeros(count, dtype=int)

    def move(self, state, action):
        right = np.where(state == 1, action == 0, action == 1)
        state = np.maximum(0, state + np.where(right, 1, -1))
        return state, np.full(len(state), -1.0), state == 3, np.zeros(len(state), dtype=bool)

    def see(self, state):
        return np.ones((len(state), 1), dtype=np.float32)


class OneCorridor(gymnasium.Env):
    """The same, as an environment that plays one at a time."""

    observation_space, action_space = Corridor.seen, spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 0
        return np.ones(1, dtype=np.float32), {}

    def step(self, action):
        step = 1 if action == 1 else -1
        self.place = max(0, self.place + (-step if self.place == 1 else step))
        return np.ones(1, dtype=np.float32), -1.0, self.place == 3, False, {}


class TabularMDP(Playground):
    """A random Markov decision process with one-hot observations; every step may end with a known probability."""

    seen, actions = spaces.Box(0.0, 1.0, (4,), np.float32), spaces.Discrete(3)
    made = np.random.default_rng(7)
    reward = made.normal(size=(4, 3))
    transition = made.dirichlet(np.ones(4), size=(4, 3)) * 0.8
    start = made.dirichlet(np.ones(4))

    def begin(self, count):
        return self.np_random.choice(4, size=count, p=self.start)

    def move(self, state, action):
        chances = np.cumsum(self.transition[state, action], axis=1)
        following = (self.np_random.random((len(state), 1)) >= chances).sum(axis=1)
        over = following == 4
        return np.where(over, state, following), self.reward[state, action], over, np.zeros(len(state), dtype=bool)

    def see(self, state):
        return np.eye(4, dtype=np.float32)[state]


class Countdown(Playground):
    """Copy i ends after lengths[i] steps (terminated, or truncated where told) and pays 1, 2, 3, …; it ignores actions."""

    def __init__(self, lengths, truncates=False):
        super().__init__(len(lengths))
        self.lengths, self.truncates = np.array(lengths), truncates

    def begin(self, count):
        return np.zeros(count, dtype=int)

    def move(self, state, action):
        state = state + 1
        done, never = state == self.lengths, np.zeros(len(state), dtype=bool)
        return state, state.astype(float), *((never, done) if self.truncates else (done, never))


class Endless(Playground):
    """Pays 1 a step and never ends."""

    def begin(self, count):
        return np.zeros(count, dtype=int)

    def move(self, state, action):
        never = np.zeros(len(state), dtype=bool)
        return state, np.ones(len(state)), never, never

    def see(self, state):
        return self.np_random.normal(size=(len(state), 1)).astype(np.float32)


class Bandit(Endless):
    """One step an episode: action 1 pays 1, action 0 nothing. The observation is 1."""

    def move(self, state, action):
        return state, (action == 1).astype(float), np.ones(len(state), dtype=bool), np.zeros(len(state), dtype=bool)

    def see(self, state):
        return np.ones((len(state), 1), dtype=np.float32)


class Broken(Endless):
    """Pays what is not a number from the hundredth step on."""

    def move(self, state, action):
        state = state + 1
        never = np.zeros(len(state), dtype=bool)
        return state, np.where(state > 100, np.nan, 1.0), never, never


class Reaching(gymnasium.Env):
    """Continuous actions of shape (2, 1) between 10 and 30, paid by how near 25 they are, for ten steps; one at a time."""

    observation_space = spaces.Box(-1.0, 1.0, (2, 2), np.float32)
    action_space = spaces.Box(10.0, 30.0, (2, 1), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.sample() * 0, {}

    def step(self, action):
        assert self.action_space.contains(action)
        return np.zeros((2, 2), np.float32), -float(np.abs(action - 25.0).mean()), False, False, {}


class Shifted(gymnasium.Env):
    """Discrete actions that begin at 5; the first pays 1."""

    observation_space, action_space = spaces.Box(-1.0, 1.0, (1,), np.float32), spaces.Discrete(2, start=5)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        assert action in self.action_space
        return np.zeros(1, np.float32), float(action == 5), True, False, {}


class Unwilling(Shifted):
    """One whose maker fails in its own way."""

    def __init__(self):
        raise RuntimeError("no display\nis connected")


class Named(Shifted):
    """Observations that are not a Box."""

    observation_space = spaces.Discrete(3)


for name, kind in {
    "Corridor": Corridor,
    "TabularMDP": TabularMDP,
    "Endless": Endless,
    "Bandit": Bandit,
    "Broken": Broken,
}.items():
    gymnasium.register(f"{name}-v0", vector_entry_point=kind)
gymnasium.register("OneCorridor-v0", entry_point=OneCorridor)
gymnasium.register("Reaching-v0", entry_point=Reaching, max_episode_steps=10)
gymnasium.register("Shifted-v0", entry_point=Shifted)
gymnasium.register("Named-v0", entry_point=Named)
gymnasium.register("Unwilling-v0", entry_point=Unwilling)


def task(name):
    """The id under which a playground is asked for, so that any process finds it."""
    return f"tests.playgrounds:{name}-v0"
