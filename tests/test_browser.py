"""The app as a person meets it: the real server, a real Chromium."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect, sync_playwright
from streamlit.proto.BackMsg_pb2 import BackMsg

from pages.ui.theatre import packed
from pgcore.actions import units_of
from pgcore.config import TrainConfig
from pgcore.estimators import ESTIMATORS
from pgcore.policies import Policy
from pgcore.runs.store import RunStore
from pgcore.runs.worker import train_run
from tests import chromium
from tests.test_app import prices_csv

ROOT = Path(__file__).parent.parent
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)


def serve(home: Path, *flags: str, script: Path = ROOT / "app.py") -> tuple[subprocess.Popen, str]:
    """Start the app on a free port with a data directory of its own; the process and the address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PGLAB_HOME": str(home), "PYTHONPATH": str(ROOT)}
    environment.pop("PGLAB_DATABASE_URL", None)
    command = [sys.executable, "-m", "streamlit", "run", script, f"--server.port={port}", "--server.headless=true", *flags]
    with open(home / "server.log", "ab") as log:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=1)
        except OSError:
            if server.poll() is not None:
                break
            time.sleep(0.1)
        else:
            return server, address
    pytest.fail((home / "server.log").read_text())


def end_runs(home: Path) -> None:
    """End what still trains: it goes on without its server, as it should."""
    store = RunStore(f"sqlite:///{home}/runs.sqlite")
    for run in store.runs():
        if run.process is not None and not run.is_over:
            run.process.kill()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def results(home):
    """Links to runs that are over: page -> path."""
    store = RunStore(f"sqlite:///{home}/runs.sqlite")
    configs = {"cartpole": TrainConfig(max_steps=20_000), "stocks": TrainConfig(task="stocks", max_steps=20_000)}
    runs = {page: train_run(store, store.create_run(config)) for page, config in configs.items()}
    return {"cartpole": f"?run={runs['cartpole'].id}", "stocks": f"stocks?run={runs['stocks'].id}"}


@pytest.fixture(scope="module")
def address(home, results):
    server, address = serve(home)
    yield address
    server.terminate()
    server.wait(timeout=30)
    end_runs(home)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page that remembers what the console complained about."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on(
        "console", lambda line: page.complaints.append(f"{line.text} {line.location['url']}") if line.type == "error" else None
    )
    yield page
    page.close()


def button(page: Page, name: str):
    """The first by that name: the toolbar stands above the stage, which has buttons like it."""
    return page.locator("[data-testid=stMain]").get_by_role("button", name=name, exact=False).first


def number(page: Page, label: str) -> str:
    return page.locator(".board dl > div").filter(has_text=label).locator("dd").inner_text()


def test_press_train_on_cartpole_and_see_it_solved(page, address):
    page.goto(address)
    button(page, "Train").click()
    page.wait_for_url(re.compile(r"\?run="))
    expect(page.get_by_text(re.compile(r"learning · [\d,]+ steps|solved · "))).to_be_visible()
    expect(page.get_by_text(re.compile(r"solved · [\d,]+ steps"))).to_be_visible()
    assert float(number(page, "Return, last 100")) >= 475

    chart = page.locator(".live-chart").first
    mean = chart.evaluate("node => Array.from(node._fullData[1].y)")
    assert mean[0] < 60
    assert mean[-1] > 400, "the return rose"
    assert page.locator(".live-chart").nth(1).evaluate("node => node.data.map(trace => trace.name)") == ["left", "right"]
    expect(page.get_by_text("fresh episodes")).to_be_visible()
    assert page.complaints == []


@pytest.mark.parametrize("press", ["the keys", "a tap"])
def test_what_was_just_typed_is_what_is_trained(page, address, home, press):
    page.goto(f"{address}/?max_steps=2000")
    expect(button(page, "Train")).to_be_enabled()
    seed = page.get_by_label("Seed", exact=True)
    seed.fill("11")
    if press == "the keys":
        seed.press("Control+Enter")
    else:
        button(page, "Train").click()
    page.wait_for_url(re.compile("run="))
    expect(page.get_by_text(re.compile(r"seed 11 · done · [\d,]+ steps"))).to_be_visible()
    (run,) = re.findall(r"run=([\w-]+)", page.url)
    assert RunStore(f"sqlite:///{home}/runs.sqlite").run(run).config.seed == 11
    page.wait_for_url(re.compile("seed=11"))


def test_all_of_cartpole_is_seen_at_once(page, address, results):
    height = "document.querySelector('[data-testid=stMain]').scrollHeight"
    for link in ("", results["cartpole"]):
        page.goto(f"{address}/{link}")
        expect(page.get_by_text("What it learned" if link else "Press Train")).to_be_visible()
        page.wait_for_timeout(1500)
        assert page.evaluate(height) <= page.viewport_size["height"], link


def test_a_reload_and_another_tab_show_the_same_run(page, browser, address):
    page.goto(f"{address}/?max_steps=2000&estimator=reinforce")
    button(page, "Train").click()
    expect(page.get_by_text(re.compile(r"done · [\d,]+ steps"))).to_be_visible()
    run = re.search(r"run=([\w-]+)", page.url)[1]
    page.reload()
    expect(page.get_by_text(re.compile(r"done · [\d,]+ steps"))).to_be_visible()
    assert "max_steps=2000" in page.url
    other = browser.new_page()
    other.goto(f"{address}/?run={run}")
    expect(other.get_by_text(re.compile(r"done · [\d,]+ steps"))).to_be_visible()
    other.close()


@pytest.mark.parametrize(("place", "group", "name"), [("", "Train", "CartPole"), ("stocks", "Train", "Stocks")])
@pytest.mark.parametrize("way", ["menu", "back"])
def test_who_comes_back_to_a_page_finds_it_as_it_was(page, address, place, group, name, way):
    page.goto(f"{address}/{place}?estimator=reinforce&seed=5&max_steps=3000")
    button(page, "Train").click()
    expect(page.get_by_text(re.compile(r"done · [\d,]+ steps"))).to_be_visible()
    for other_group, other in (("Understand", "Estimators"), ("Runs", "Runs")):
        choose(page, other_group, other)
        page.wait_for_url(re.compile(f"/{other.lower()}"))
        page.wait_for_timeout(500)
        if way == "back":
            page.go_back()
        else:
            choose(page, group, name)
        page.wait_for_url(re.compile(r"estimator=reinforce&seed=5&max_steps=3000&run="))
        expect(page.get_by_text(re.compile(r"done · [\d,]+ steps"))).to_be_visible()
        page.wait_for_function("document.querySelector('.live-chart path.js-line')?.getAttribute('d')?.length > 0")
    assert page.complaints == []


def choose(page: Page, group: str, name: str) -> None:
    """Go to a page by the menu."""
    page.get_by_test_id("stHeader").get_by_text(group, exact=True).first.click()
    page.get_by_role("menuitem", name=name).click()


def test_two_tabs_both_see_a_run_go_on(page, browser, address):
    page.goto(f"{address}/?stop_when_solved=off&max_steps=50000000")
    button(page, "Train").click()
    page.wait_for_url(re.compile(r"[?&]run="))
    other = browser.new_page()
    other.goto(page.url)
    for tab in (page, other):
        line = tab.get_by_text(re.compile(r"learning(, solved)? · [\d,]+ steps"))
        for _ in range(3):
            before = line.inner_text()
            expect(line).not_to_have_text(before)
    button(page, "Stop").click()
    for tab in (page, other):
        expect(tab.get_by_text(re.compile(r"stopped(, solved)? · "))).to_be_visible()
    other.close()


def test_upload_prices_on_stocks_and_train_on_them(page, address):
    page.goto(f"{address}/stocks?max_steps=8000")
    expect(page.get_by_text("mean of 20 before")).to_be_visible()
    page.get_by_role("radio", name="Upload").or_(page.get_by_role("button", name="Upload", exact=True)).first.click()
    page.locator("input[type=file]").set_input_files(
        {"name": "mine.csv", "mimeType": "text/csv", "buffer": prices_csv(700).encode()}
    )
    expect(page.get_by_text("What was read")).to_be_visible()
    button(page, "Train").click()
    expect(page.get_by_text(re.compile(r"done · [\d,]+ steps"))).to_be_visible()
    expect(page.get_by_text(re.compile(r"[Ee]vidence of skill"))).to_be_visible()
    names = page.locator(".live-chart").nth(2).evaluate("node => node.data.map(trace => trace.name)")
    assert names == ["buy", "sell", "hold"]
    assert page.complaints == []


@pytest.mark.parametrize("width", [1440, 400])
def test_the_handles_of_the_parts_stand_under_their_borders(page, address, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{address}/stocks")
    borders = page.locator(".st-key-stocks-price .shapelayer path")
    handles = page.locator(".st-key-stocks-parts").get_by_test_id("stSliderThumbValue")
    expect(borders).to_have_count(3)
    expect(handles).to_have_count(2)
    for border, handle in ((1, 0), (2, 1)):
        shade, knob = borders.nth(border).bounding_box(), handles.nth(handle).bounding_box()
        assert knob["x"] + knob["width"] / 2 == pytest.approx(shade["x"], abs=0.01 * width)


def test_a_wrong_file_is_refused_in_the_browser_too(page, address):
    page.goto(f"{address}/stocks")
    page.get_by_role("radio", name="Upload").or_(page.get_by_role("button", name="Upload", exact=True)).first.click()
    page.locator("input[type=file]").set_input_files(
        {"name": "x.csv", "mimeType": "text/csv", "buffer": b"PK\x03\x04 no table"}
    )
    expect(page.locator("[data-testid=stAlert]")).to_have_count(1)
    expect(button(page, "Train")).to_be_enabled()


def test_pause_resume_and_stop_steer_the_run(page, address):
    page.goto(f"{address}/?stop_when_solved=off&max_steps=50000000")
    button(page, "Train").click()
    expect(page.get_by_text(re.compile(r"learning(, solved)? · [\d,]+ steps"))).to_be_visible()
    button(page, "Pause").click()
    expect(page.get_by_text(re.compile(r"paused(, solved)? · "))).to_be_visible()
    steps = page.get_by_text(re.compile(r"paused(, solved)? · ")).inner_text()
    page.wait_for_timeout(1000)
    assert page.get_by_text(re.compile(r"paused(, solved)? · ")).inner_text().split(" steps")[0] == steps.split(" steps")[0]
    button(page, "Resume").click()
    expect(page.get_by_text(re.compile(r"learning(, solved)? · [\d,]+ steps"))).to_be_visible()
    button(page, "Stop").click()
    expect(page.get_by_text(re.compile(r"stopped(, solved)? · [\d,]+ steps"))).to_be_visible()


def test_a_closed_tab_does_not_stop_a_run(browser, address):
    page = browser.new_page()
    page.goto(f"{address}/?stop_when_solved=off&max_steps=300000&estimator=ppo")
    button(page, "Train").click()
    page.wait_for_url(re.compile(r"\?.*run="))
    link = page.url
    page.close()
    later = browser.new_page()
    later.goto(link)
    expect(later.get_by_text(re.compile(r"(done|solved) · 300,\d+ steps"))).to_be_visible()
    later.close()


PLAY_IN_JS = """
async ([source, task, start, actions]) => {
  const { TASKS } = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const states = [start];
  for (const action of actions) states.push(TASKS[task].step(states.at(-1), action));
  return states.map(state => [...TASKS[task].observe(state), TASKS[task].over(state) ? 1 : 0]);
}
"""


@pytest.mark.parametrize("task", ["CartPole-v1", "MountainCar-v0", "Acrobot-v1", "Pendulum-v1"])
def test_the_stage_plays_by_gymnasiums_physics(page, address, task):
    env = gymnasium.make(task).unwrapped
    env.reset(seed=3)
    start, rng = [float(x) for x in env.state], np.random.default_rng(3)
    actions, seen = [], []
    for _ in range(60):
        action = rng.integers(env.action_space.n) if hasattr(env.action_space, "n") else rng.uniform(-2, 2)
        obs, _, over, _, _ = env.step(action if hasattr(env.action_space, "n") else np.array([action]))
        actions.append(float(action))
        seen.append([*map(float, obs), float(over)])
        if over:
            break
    page.goto(address)
    played = page.evaluate(PLAY_IN_JS, [(ROOT / "pages/ui/theatre.js").read_text(), task, start, actions])
    np.testing.assert_allclose(played[1:], seen, rtol=1e-4, atol=1e-4)


ASK_IN_JS = """
async ([source, policy, states]) => {
  const { decode, outputs } = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const decoded = decode(policy);
  return states.map(state => outputs(decoded, state));
}
"""


def test_the_stage_asks_the_very_policy(page, address):
    policy = Policy(4, 2, "categorical", (8, 5), "tanh")
    policy.network.normalise_by(np.array([0.1, 0.2, -0.3, 0.4]), np.array([2.0, 0.5, 1.0, 3.0]))
    states = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    page.goto(address)
    source = (ROOT / "pages/ui/theatre.js").read_text()
    answers = page.evaluate(ASK_IN_JS, [source, packed(policy.to_bytes()), states.tolist()])
    np.testing.assert_allclose(answers, policy.preferences(states), rtol=1e-4, atol=1e-5)


ACT_IN_JS = """
async ([source, name, policy, observations]) => {
  const { TASKS, choose, decode } = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const decoded = decode(policy);
  return observations.map(seen => choose(TASKS[name], decoded, seen, null));
}
"""


def test_the_stage_does_with_its_whole_strength_what_the_policy_does(page, address):
    space = gymnasium.make("Pendulum-v1").action_space
    policy = Policy(3, 1, "gaussian", (8,), "tanh", units_of(space))
    with torch.no_grad():
        policy.network.layers[-1][0].mul_(100.0)
    seen = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    does = policy.act(seen, np.random.default_rng(0), greedy=True)[:, 0]
    assert does.min() == space.low[0]
    assert does.max() == space.high[0]
    assert len(set(does)) > 4
    page.goto(address)
    source = (ROOT / "pages/ui/theatre.js").read_text()
    played = page.evaluate(ACT_IN_JS, [source, "Pendulum-v1", packed(policy.to_bytes()), seen.tolist()])
    np.testing.assert_allclose(played, does, rtol=1e-4, atol=1e-4)


def part(page: Page, name: str):
    return page.locator(f"[data-part={name}]")


def pixels(page: Page, name: str) -> str:
    return part(page, name).evaluate("canvas => canvas.toDataURL()")


@pytest.fixture
def stage(page, address, results):
    """The stage of a finished CartPole run, at rest at its first step."""
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"{address}/{results['cartpole']}")
    expect(part(page, "stage")).to_have_attribute("aria-label", re.compile("at step 0 of"))
    return page


def test_the_agent_is_played_scrubbed_and_nudged(stage):
    steps = int(re.search(r"of (\d+)", part(stage, "stage").get_attribute("aria-label"))[1])
    part(stage, "time").fill("7")
    expect(part(stage, "stage")).to_have_attribute(
        "aria-label", re.compile(f"at step 7 of {steps}, return .*action (left|right)")
    )
    before = pixels(stage, "stage")
    part(stage, "ghost").select_option("first")
    assert pixels(stage, "stage") != before, "the first policy is seen behind the last"
    part(stage, "speed").select_option("4")
    part(stage, "play").click()
    expect(part(stage, "play")).to_have_attribute("aria-label", "Pause the episode")
    expect(part(stage, "stage")).to_have_attribute("aria-label", re.compile(f"at step {steps} of {steps}"))
    expect(part(stage, "play")).to_have_attribute("aria-label", "Play the episode")
    label = part(stage, "stage").get_attribute("aria-label")
    for step in ("3", "4", "5"):
        part(stage, "time").fill(step)
        part(stage, "nudge-right").click()
    expect(part(stage, "play")).to_have_attribute("aria-label", "Play the episode")
    assert part(stage, "stage").get_attribute("aria-label") != label, "pushed three times, it goes otherwise"
    assert stage.complaints == []


def test_the_policy_map_shows_a_cut_a_change_and_the_learning(stage):
    last = part(stage, "checkpoint-label").inner_text()
    now = pixels(stage, "map")
    part(stage, "fixed").locator("input").first.fill("1.2")
    moved = pixels(stage, "map")
    assert moved != now, "another cut through what it sees"
    part(stage, "view").select_option("change")
    assert "changed since the first" in part(stage, "legend").inner_text()
    assert pixels(stage, "map") != moved
    part(stage, "checkpoint").fill("0")
    expect(part(stage, "checkpoint-label")).to_have_text("update 0 · 0 steps")
    part(stage, "view").select_option("now")
    untaught = pixels(stage, "map")
    part(stage, "replay").click()
    expect(part(stage, "checkpoint-label")).to_have_text(last)
    assert pixels(stage, "map") != untaught
    assert stage.complaints == []


def test_the_checkpoint_one_looks_at_stays_as_more_are_kept(page, address):
    page.goto(f"{address}/?estimator=reinforce&stop_when_solved=off&max_steps=50000000")
    button(page, "Train").click()
    expect(part(page, "checkpoint")).to_have_attribute("max", "11")
    part(page, "checkpoint").fill("4")
    looked_at = part(page, "checkpoint-label").inner_text()
    button(page, "Stop").click()
    expect(part(page, "checkpoint")).not_to_have_attribute("max", "11")
    expect(part(page, "checkpoint-label")).to_have_text(looked_at)
    assert page.complaints == []


def test_the_charts_name_their_lines_from_the_first_point_on(page, address):
    page.goto(f"{address}/?stop_when_solved=off&max_steps=50000000")
    button(page, "Train").click()
    texts = "[...node.querySelectorAll('.legendtext')].map(text => text.textContent).sort().join()"
    legends = f"[...document.querySelectorAll('.live-chart')].map(node => {texts}).join(' | ')"
    page.wait_for_function(f"{legends} === 'episode,mean of 50 | left,right'")
    button(page, "Stop").click()
    expect(button(page, "Train")).to_be_enabled()


def test_an_empty_chart_rehearses_its_first_move_and_is_as_before(page, address):
    page.add_init_script("""addEventListener("drawn", event => {
      const node = event.target, tell = () => window.moves.push([node._fullData[0].x.length, node._fullData[0].y[0]]);
      if (!window.moves) { node.on("plotly_animated", tell); window.moves = []; window.first = node; }
    }, true)""")
    page.goto(address)
    page.wait_for_function("window.moves?.length === 2")
    (points, lowest), (left, _) = page.evaluate("window.moves")
    assert points > 0
    assert lowest < page.evaluate("window.first._fullLayout.yaxis.range[0]"), "out of sight"
    assert left == 0
    assert page.evaluate("window.first.querySelector('.scatterlayer path.js-line')") is None


@pytest.mark.parametrize(
    "press", [lambda page: button(page, "Train").click(), lambda page: page.keyboard.press("Control+Enter")]
)
def test_pressing_train_asks_for_the_first_point_before_the_page_is_drawn_anew(page, address, press):
    page.goto(f"{address}/?stop_when_solved=off&max_steps=50000000")
    expect(button(page, "Train")).to_be_enabled()
    page.locator(".live-chart .main-svg").first.wait_for()
    with page.expect_response(lambda response: response.url.endswith("due=1")) as answer:
        press(page)
    told = answer.value.json()
    assert "learning" in told["said"] or "starting" in told["said"]
    assert told["charts"][0]["identity"].startswith("returns-")
    page.wait_for_function("document.querySelector('.live-chart path.js-line')?.getAttribute('d')?.length > 0")
    button(page, "Stop").click()
    expect(button(page, "Train")).to_be_enabled()
    assert page.complaints == []


def test_the_buttons_have_no_more_than_the_panel_drawn_anew_until_there_is_a_result(page, address):
    asked = []

    def note(sent: bytes) -> None:
        message = BackMsg.FromString(sent)
        if message.WhichOneof("type") == "rerun_script":
            asked.append(bool(message.rerun_script.fragment_id))

    page.on("websocket", lambda socket: socket.on("framesent", note))
    page.goto(f"{address}/?stop_when_solved=off&max_steps=50000000")
    expect(button(page, "Train")).to_be_enabled()
    page.wait_for_timeout(500)
    asked.clear()
    button(page, "Train").click()
    button(page, "Pause").click()
    expect(button(page, "Resume")).to_be_enabled()
    button(page, "Resume").click()
    expect(button(page, "Pause")).to_be_enabled()
    button(page, "Stop").click()
    expect(page.get_by_text("What it learned.")).to_be_visible()
    assert len(asked) >= 4
    assert all(asked)
    button(page, "Train").click()
    expect(page.get_by_text("What it learned.")).to_be_hidden()
    button(page, "Stop").click()
    expect(button(page, "Train")).to_be_enabled()


def test_live_charts_keep_their_node_and_zoom_while_training(page, address):
    page.goto(f"{address}/?stop_when_solved=off&max_steps=50000000")
    button(page, "Train").click()
    expect(page.get_by_text(re.compile(r"learning(, solved)? · [\d,]+ steps"))).to_be_visible()
    chart = page.locator(".live-chart").first
    expect(chart.locator(".main-svg").first).to_be_visible()
    chart.evaluate("node => { node.marked = true; return Plotly.relayout(node, {'yaxis.range': [10, 60]}); }")
    drawn = "node => { node.draws = 0; node.addEventListener('drawn', () => { node.draws += 1; }); }"
    chart.evaluate(drawn)
    page.wait_for_function("() => document.querySelector('.live-chart').draws >= 10", timeout=PATIENCE_MS)
    assert chart.evaluate("node => node.marked === true"), "the node is the same"
    assert chart.evaluate("node => node.layout.yaxis.range") == [10, 60], "so is the zoom"
    button(page, "Stop").click()
    expect(page.get_by_text(re.compile(r"stopped(, solved)? · [\d,]+ steps"))).to_be_visible()
    ends = "[node._fullLayout.xaxis.range[1], node._fullData[0].x.at(-1)]"
    page.wait_for_function(f"() => {{ const node = document.querySelector('.live-chart'), [a, b] = {ends}; return a === b; }}")


def test_the_moving_average_follows_its_slider_while_it_is_dragged(page, address):
    held_back = []
    page.route("**/Slider.*.js", lambda request: held_back.append(request))
    page.goto(f"{address}/stocks")
    chart = page.locator(".live-chart").first
    name = "node => node._fullData?.[1]?.name"
    page.wait_for_function("document.querySelector('.live-chart')?._fullData?.[1]?.name === 'mean of 20 before'")
    (slider,) = held_back  # on a slow line it comes after the chart
    slider.continue_()
    thumb = page.locator(".st-key-stocks-window input")
    box = thumb.evaluate("""node => {
        const { x, y, width, height } = node.parentElement.parentElement.getBoundingClientRect();
        return [x + width / 2, y + height / 2];
    }""")
    page.mouse.move(*box)
    page.mouse.down()
    page.mouse.move(box[0] + 20, box[1], steps=5)
    window = int(thumb.input_value())
    assert window > 20
    page.wait_for_function(f"document.querySelector('.live-chart')._fullData[1].name === 'mean of {window} before'")
    assert chart.evaluate("node => Array.from(node._fullData[1].y).filter(Number.isFinite).length > 1000")
    page.mouse.up()
    page.wait_for_url(re.compile(f"window={window}"))
    assert chart.evaluate(name) == f"mean of {window} before"
    assert page.complaints == []


LONG_WORK = """
import time
from pathlib import Path
import streamlit as st
from pages.ui.waiting import worked_out

def work():
    while not Path(__file__).with_name("go on").exists():
        time.sleep(0.05)
    return "worked"

@st.fragment
def part():
    if st.button("Work"):
        st.session_state["asked"] = True
    if st.session_state.get("asked"):
        st.write(worked_out("work", "this", work, "Working.", lambda: st.session_state.pop("asked")) or "")

part()
st.button("another button")
st.write("the rest of the page")
"""


def test_long_work_says_how_long_it_takes_and_can_be_cancelled(page, tmp_path):
    (tmp_path / "long_work.py").write_text(LONG_WORK)
    server, address = serve(tmp_path, script=tmp_path / "long_work.py")
    page.goto(address)
    page.get_by_role("button", name="Work").click()
    expect(page.get_by_text(re.compile(r"Working\. [1-9]\d* s"))).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Working.")).to_have_count(0)
    expect(page.get_by_text("the rest of the page")).to_be_visible()
    page.get_by_role("button", name="Work").click()
    expect(page.get_by_text(re.compile(r"Working\. [1-9]\d* s"))).to_be_visible()
    page.get_by_role("button", name="another button").click()
    (tmp_path / "go on").touch()
    expect(page.get_by_text("worked")).to_be_visible()
    expect(page.get_by_text("Working.")).to_have_count(0)
    server.terminate()
    server.wait(timeout=30)


LONG_RESULT = """
import time
from functools import lru_cache
from pathlib import Path
from pages.ui import backtest
from pages.ui.server import store

def slowly(recorded, cost):
    while not Path(__file__).with_name("go on").exists():
        time.sleep(0.05)
    return backtest.at_once(recorded, cost)

if not hasattr(backtest, "at_once"):
    backtest.at_once = backtest._at_cost
    backtest._at_cost = lru_cache(slowly)
run = store().runs()[-1]
backtest.show_results("stocks", run, store().evaluation(run.id, "final"), [run])
"""


def test_a_result_that_takes_long_can_be_given_up(page, tmp_path):
    store = RunStore(f"sqlite:///{tmp_path}/runs.sqlite")
    train_run(store, store.create_run(TrainConfig(task="stocks", max_steps=2000)))
    (tmp_path / "long_result.py").write_text(LONG_RESULT)
    go_on = tmp_path / "go on"
    server, address = serve(tmp_path, script=tmp_path / "long_result.py")
    page.goto(address)
    expect(page.get_by_text(re.compile(r"earned at 5 bp\. \d+ s"))).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("was not worked out")).to_be_visible()
    expect(page.get_by_text("Working out")).to_have_count(0)
    page.get_by_role("button", name="Work it out").click()
    expect(page.get_by_text(re.compile(r"earned at 5 bp\. \d+ s"))).to_be_visible()
    go_on.touch()
    expect(page.locator(".board dl")).to_contain_text("1 became")
    go_on.unlink()
    thumb = page.get_by_role("slider", name="Trading cost (bp)")
    thumb.press("ArrowRight")
    expect(page.get_by_text(re.compile(r"earned at 5\.5 bp\. \d+ s"))).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(thumb).to_have_value("5")
    expect(page.get_by_text("Working out")).to_have_count(0)
    expect(page.locator(".board")).to_contain_text("At a trading cost of 5 bp")
    go_on.touch()
    server.terminate()
    server.wait(timeout=30)


PLACES = ("", "stocks", "runs", "estimators")


@pytest.fixture(params=[*PLACES, "a result of cartpole", "a result of stocks"])
def place(request, address, results):
    """The address of a page without a run, or with the result of one."""
    return f"{address}/{results.get(request.param.removeprefix('a result of '), request.param)}"


def test_nothing_scrolls_sideways_on_a_narrow_screen(page, address, results):
    page.set_viewport_size({"width": 400, "height": 800})
    for place in (*PLACES, *results.values()):
        page.goto(f"{address}/{place}")
        page.wait_for_selector("[data-testid=stMain] [data-testid=stVerticalBlock]")
        page.wait_for_timeout(1500)
        assert page.evaluate("() => document.querySelector('[data-testid=stMain]').scrollWidth") <= 400, place


def test_small_charts_side_by_side_stand_one_below_the_other_where_it_is_narrow(page, address, results):
    domains = "[...document.querySelectorAll('.live-chart')].at(-1)?._fullLayout"
    for width, wanted in ((400, 1), (1440, 3)):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(f"{address}/{results['cartpole']}")
        expect(page.get_by_text("What it learned")).to_be_visible()
        page.wait_for_timeout(1500)
        page.get_by_text("Diagnostics", exact=False).first.click()
        page.wait_for_function(f"{domains}?.yaxis4")
        places = page.evaluate(f"[1, 2, 3, 4].map(n => {domains}[n > 1 ? `xaxis${{n}}` : 'xaxis'].domain[0])")
        assert len(set(places)) == wanted


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_serious_accessibility_problem(browser, place, theme):
    page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme=theme)
    page.goto(place)
    page.wait_for_selector("[data-testid=stMain] [data-testid=stVerticalBlock]")
    page.wait_for_timeout(2500)
    for train in page.locator("[class*=st-key][class*=-train] button").all():
        expect(train).to_be_enabled()  # its colours are not those of either state while it becomes so
        page.wait_for_timeout(500)
    found = Axe().run(page).response["violations"]
    page.close()
    serious = [(v["id"], v["nodes"][0]["target"], v["help"]) for v in found if v["impact"] in ("serious", "critical")]
    assert not serious, serious


@pytest.mark.parametrize("width", [400, 1440])
def test_an_equation_is_no_place_to_scroll_while_its_fonts_are_late(page, address, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.route(re.compile(r"KaTeX.*\.woff"), lambda route: None)
    page.goto(f"{address}/estimators")
    expect(page.locator(".katex-display")).to_have_count(1 + len(ESTIMATORS))
    page.wait_for_timeout(1000)
    scrolls = "e => getComputedStyle(e).overflowX == 'auto' && (innerWidth > 1000 || e.scrollWidth > e.clientWidth)"
    assert page.locator(".katex-display").evaluate_all(f"all => all.filter({scrolls}).length") == 0


def test_no_page_complains_on_the_console(page, place):
    page.goto(place)
    page.wait_for_selector("[data-testid=stMain] [data-testid=stVerticalBlock]")
    page.wait_for_timeout(2500)
    assert page.complaints == []
