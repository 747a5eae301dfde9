"""What answers of the JSON face say, a file per resource.

* ``clients``, ``connect_sessions``, ``connections``, ``device_sessions``, ``events``, ``providers``.
* ``tokens`` – the two answers that are made for secrets.
* ``absence`` – members that are left out where there is nothing to say.

No view has a field that could hold a credential, except those made for it.
"""

from broker.downstream.api.views.clients import (
    ClientList,
    ClientView,
    CreatedClient,
    DeletedClient,
    RotatedClient,
    WorkloadView,
)
from broker.downstream.api.views.connect_sessions import (
    CompletedConnectSession,
    ConnectSessionView,
    OpenedConnectSession,
)
from broker.downstream.api.views.connections import (
    AccountView,
    ConnectionList,
    ConnectionView,
    ConsentView,
    DisconnectedView,
    FaultView,
    HealthView,
    TestedView,
)
from broker.downstream.api.views.device_sessions import (
    DeviceSessionList,
    DeviceSessionView,
    EndedDeviceSession,
)
from broker.downstream.api.views.events import EventList, EventView
from broker.downstream.api.views.providers import ParameterView, ProviderList, ProviderView
from broker.downstream.api.views.tokens import AuthorizationView, ReferenceView, TokenView

__all__ = [
    "AccountView",
    "AuthorizationView",
    "ClientList",
    "ClientView",
    "CompletedConnectSession",
    "ConnectSessionView",
    "ConnectionList",
    "ConnectionView",
    "ConsentView",
    "CreatedClient",
    "DeletedClient",
    "DeviceSessionList",
    "DeviceSessionView",
    "DisconnectedView",
    "EndedDeviceSession",
    "EventList",
    "EventView",
    "FaultView",
    "HealthView",
    "OpenedConnectSession",
    "ParameterView",
    "ProviderList",
    "ProviderView",
    "ReferenceView",
    "RotatedClient",
    "TestedView",
    "TokenView",
    "WorkloadView",
]
